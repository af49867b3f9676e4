// The keys of the section labels in the table of configuration keys (config/fields.h).
#pragma once
#include "config/describe.h"

namespace dmoerm::config {

template <class Visit, Like<EndpointConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("url", c.url, required(), nothing,
        "Base address of an OpenAI-compatible server, e.g. https://host/v1; /chat/completions is added.");
  visit("key_env", c.key_env, any(), nothing, "Environment variable that holds the API key; empty means that no key is sent.");
  visit("key_file", c.key_file, optional_path(), nothing,
        "File that holds the API key instead. Its mode must be 0600, so that nobody else can read it.");
  visit("requests_per_minute", c.requests_per_minute, at_least(0), nothing,
        "Largest number of requests per minute; 0 means the limit that the server's headers state, or none.");
  visit("tokens_per_minute", c.tokens_per_minute, at_least(0), nothing,
        "Largest number of tokens per minute; 0 means the limit that the server's headers state, or none.");
  visit("concurrency_max", c.concurrency_max, between(1, 4096), nothing,
        "Largest number of requests in flight. The number in use grows while the server keeps up, and is halved when the server "
        "is overloaded.");
  visit("ca_file", c.ca_file, optional_path(), nothing,
        "File of certificates to trust; empty means those of the operating system.");
  visit("connect_timeout_s", c.connect_timeout_s, above(0), nothing,
        "Seconds allowed to look up the host, connect and set up TLS.");
  visit("request_timeout_s", c.request_timeout_s, above(0), nothing,
        "Seconds allowed for one try, up to the last byte of the reply.");
}

template <class Visit, Like<JudgeConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("model", c.model, required(), labels, "Name of the model, as the server knows it.");
  visit("endpoints", c.endpoints, required(), kByKey,
        "Servers of the model, asked in parallel. One that fails is left out until it works again.");
  visit("weight", c.weight, above(0), labels, "Weight of this judge's votes, where several judges are asked.");
  visit("api", c.api, one_of(c.api), nothing,
        "Interface of the judge: online sends single requests, batch uses the provider's batch API, which is cheaper and may "
        "take a day.");
  visit("answer", c.answer, one_of(c.answer), labels,
        "Form of the answer that the judge is asked for; auto means json_schema where the server supports it, and verdict_line "
        "otherwise. With api: batch, auto means json_schema.");
  visit("probabilities", c.probabilities, any(), labels,
        "Whether token log-probabilities are requested and the verdict's probability is kept.");
  visit("temperature", c.temperature, between(0, 2), labels, "Sampling temperature; 0 takes the most probable token.");
  visit("top_p", c.top_p, {.min = 0, .max = 1, .min_excluded = true}, labels,
        "Probability mass of the most probable tokens that sampling chooses from; 1 means all, and is not sent.");
  visit("seed", c.seed, at_least(-1), labels,
        "Seed of the server's sampling, where it supports one. Sample n is sent seed + n; -1 sends none.");
  visit("max_tokens", c.max_tokens, at_least(1), labels, "Largest number of tokens in an answer. The budget reserves as many.");
  visit("context_tokens", c.context_tokens, at_least(64), labels, "Largest number of tokens in question and answer together.");
  visit("tokenizer", c.tokenizer, optional_path(), labels,
        "Directory of the judge's tokenizer.json, which counts tokens exactly; empty means an estimate.");
  visit("price_prompt", c.price_prompt, at_least(0), nothing, "Price of a million prompt tokens, in labels.currency.");
  visit("price_completion", c.price_completion, at_least(0), nothing,
        "Price of a million completion tokens, in labels.currency.");
  visit("tries_max", c.tries_max, between(1, 100), nothing,
        "Largest number of tries of a question that fails with a server error, a timeout or a lost connection.");
  visit("backoff_s", c.backoff_s, above(0), nothing,
        "Longest pause before the second try; it doubles with each further one. The pause is drawn at random up to it.");
  visit("backoff_max_s", c.backoff_max_s, above(0), nothing,
        "Longest pause between two tries, unless the server asks for a longer one.");
  visit("extra", c.extra, any(), labels,
        "JSON object that is merged into every request, e.g. '{\"chat_template_kwargs\": {\"enable_thinking\": false}}'.");
}

template <class Visit, Like<PairChoiceConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("choose", c.choose, one_of(c.choose), labels,
        "Pairs of a group that are asked about: all of them, per_group of them by a seeded draw, or those that experts are least "
        "certain about (the experts of `bundle`, or with labels.rounds those of the previous round).");
  visit("per_group", c.per_group, at_least(1), labels,
        "Largest number of pairs of one group, where choose is per_group or uncertain.");
  visit("pairs_max", c.pairs_max, at_least(0), labels, "Largest number of pairs of one point over all groups; 0 means no limit.");
  visit("bundle", c.bundle, optional_path(), labels | by_content,
        "Directory of a bundle, whose experts choose the pairs if choose is uncertain. With labels.rounds they choose the pairs "
        "of the first round; if this is empty, these are drawn at random.");
}

template <class Visit, Like<BudgetConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("cost_max", c.cost_max, at_least(0), nothing,
        "Largest cost in labels.currency of everything that the label store has ever paid for; 0 means no limit.");
  visit("requests_max", c.requests_max, at_least(0), nothing,
        "Largest number of requests that were ever sent for the label store, including retries (but not requests refused with "
        "429 or 503); 0 means no limit.");
  visit("tokens_max", c.tokens_max, at_least(0), nothing,
        "Largest number of tokens that the label store has ever paid for; 0 means no limit.");
}

template <class Visit, Like<LabelsConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("judges", c.judges, any(), kByKey,
        "LLM judges that label the capability points. Without any, the labels come from the data.");
  visit("store", c.store, optional_path(), nothing,
        "Directory of the label store; empty means `runs_dir`/labels, which all runs there share.");
  visit("prompt", c.prompt, any(), labels | by_content,
        "Prompt template that ships with the program: pairwise-en or pairwise-zh.");
  visit("prompt_file", c.prompt_file, optional_path(), labels | by_content,
        "File with a prompt template of your own, used instead of `prompt`.");
  visit("points_file", c.points_file, optional_path(), labels | by_content,
        "File that says what the capability points mean; empty means the one that ships for the template's language.");
  visit("splits", c.splits, some_of(c.splits), labels,
        "Splits whose groups are labelled, of train and validation; test has no effect, because nothing reads its verdicts.");
  visit("samples", c.samples, between(1, 64), labels,
        "Number of times each question is asked in each order. More than one needs a temperature above 0.");
  visit("pairs", c.pairs, any(), kByKey, "Pairs that the judges are asked about.");
  visit("rounds", c.rounds, between(1, 100), labels | by_content,
        "Number of rounds in which a run labels. Each round asks about an equal share of the pairs, trains experts, and chooses "
        "the pairs that these experts are least certain about for the next round. More than one round needs labels.pairs.choose "
        "= uncertain.");
  visit("too_long", c.too_long, one_of(c.too_long), labels,
        "What happens to a question that does not fit context_tokens: truncate shortens its texts, skip leaves the pair out.");
  visit("vote", c.vote, one_of(c.vote), labels,
        "Rule that combines several judges or samples into one outcome: majority counts votes, weights counts the judges' "
        "weights.");
  visit("soft", c.soft, any(), result,
        "Whether experts are trained on the share of the votes. With false they are trained on the outcome alone.");
  visit("retry_errors", c.retry_errors, any(), nothing,
        "Whether questions that ended in an error in an earlier run are asked again.");
  visit(
      "useless_max", c.useless_max, {.min = 0, .max = 1, .min_excluded = true}, nothing,
      "Share of a judge's replies without a verdict (cut off, empty, unreadable, refused, errors) at which labelling stops; also "
      "of pairs whose verdict changes with the order, unless labels.soft is set. It stops after 32 replies at the earliest, and "
      "at "
      "the end of a smaller run; 1 stops only if none has a verdict.");
  visit("currency", c.currency, required(), nothing, "Currency of prices and budget, for display.");
  visit("batch_price_share", c.batch_price_share, between(0, 1), nothing,
        "Price of a batch request as a share of the online price.");
  visit("budget", c.budget, any(), kByKey,
        "Limits after which labelling stops. A later start with a higher limit continues where it stopped.");
}

}  // namespace dmoerm::config
