// The one table of configuration keys: name, member, range, meaning. Reading, writing, comparing and the reference all visit it,
// so that a new key is one line here beside its member in run_config.h.
#pragma once
#include <concepts>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "config/run_config.h"

namespace dmoerm::config {

/// What a value must be beyond its type.
struct Rule {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_excluded = false;
  bool max_excluded = false;
  std::vector<std::string> words = {};  ///< the only ones allowed; empty = any text
  bool or_file = false;                 ///< A file may be given instead of a word, see names_file(); then as is_path
  bool required = false;                ///< must be given and must not be empty
  bool is_path = false;                 ///< relative to the configuration file's directory
  bool is_name = false;                 ///< becomes a directory's name: [A-Za-z0-9_.-], no leading dot or dash
};

inline Rule any() { return {}; }
inline Rule at_least(double min) { return {.min = min}; }
inline Rule above(double min) { return {.min = min, .min_excluded = true}; }
inline Rule between(double min, double max) { return {.min = min, .max = max}; }
/// 0 <= x < 1
inline Rule share() { return {.min = 0, .max = 1, .max_excluded = true}; }
inline Rule one_of(std::vector<std::string> words) { return {.words = std::move(words)}; }
inline Rule one_of_or_file(std::vector<std::string> words) { return {.words = std::move(words), .or_file = true}; }
inline Rule required() { return {.required = true}; }
inline Rule optional_path() { return {.is_path = true}; }
inline Rule required_path() { return {.required = true, .is_path = true}; }
inline Rule required_name() { return {.required = true, .is_name = true}; }

/// A section that a visitor may change or only look at.
template <class T, class Section>
concept Like = std::same_as<std::remove_const_t<T>, Section>;

template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;
/// A struct with keys of its own.
template <class T>
inline constexpr bool is_section = std::is_class_v<T> && !std::same_as<T, std::string> && !is_list<T>;

// describe(visit, section) calls visit(name, member, rule, meaning) for each key in the order of the canonical text.

template <class Visit, Like<BackboneConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("dir", c.dir, required_path(),
        "Hugging Face directory of the pretrained backbone: config.json, safetensors, tokenizer.json");
  visit("chat_template", c.chat_template, one_of_or_file({"chatml", "llama3", "mistral", "plain", "dmoerm"}),
        "how a conversation becomes one text: a template by its name, or your model's own, as launch/pin_chat_template.py wrote "
        "it");
  visit("layers", c.layers, at_least(0), "use only the first n layers; 0 = all");
}

template <class Visit, Like<ComputeConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("device", c.device, one_of({"auto", "cpu", "cuda"}), "where the arithmetic runs");
  visit("dtype", c.dtype, one_of({"float32", "bfloat16"}),
        "of the backbone's weights, states and products; what is trained and summed is float32 either way");
  visit("threads", c.threads, between(1, 1024),
        "threads of a rank; part of the result, as sums may round differently with another number");
  visit("trunk_cache_mb", c.trunk_cache_mb, at_least(0),
        "MiB a rank may keep of states below the adapted layers (lora_layers); does not change the result");
  visit("micro_batch_tokens", c.micro_batch_tokens, at_least(1),
        "tokens of one forward pass; bounds memory and fixes the order of sums");
  visit("peak_tflops", c.peak_tflops, at_least(0),
        "of one rank's device, for the utilisation that is shown; 0 = measured on a CPU, known for common GPUs");
}

template <class Visit, Like<InputConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("path", c.path, required_path(), "JSON lines, plain, .gz or .zst");
  visit("form", c.form, any(), "auto, or a form that `dmoerm ingest --forms` lists");
  visit("category", c.category, any(), "category of all rows; empty = the row's own");
  visit("split", c.split, one_of({"", "train", "validation", "test"}),
        "split of all rows; empty = the row's own, else by hash of the prompt");
  visit("weight", c.weight, above(0),
        "of the file's train groups: 0.5 = a half of them, by a seeded draw; 2 = each twice a pass");
}

template <class Visit, Like<DataConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("inputs", c.inputs, required(), "the preference data");
  visit("max_length", c.max_length, at_least(2), "tokens of prompt + response; longer groups lose the start of the prompt");
  visit("min_prompt_tokens", c.min_prompt_tokens, at_least(1),
        "tokens kept of a cut prompt; a response that leaves less room loses its end");
  visit("bad_lines_max", c.bad_lines_max, at_least(0), "tolerated unreadable lines over all files");
  visit("responses_per_group_max", c.responses_per_group_max, at_least(0), "thin larger groups by a seeded draw; 0 = keep all");
  visit("groups_per_category_max", c.groups_per_category_max, at_least(0),
        "train groups per category, by a seeded draw; 0 = keep all");
  visit("validation_share", c.validation_share, share(), "of the prompts without a split of their own");
  visit("test_share", c.test_share, share(), "of the prompts without a split of their own");
  visit("special_tokens_in_text", c.special_tokens_in_text, any(),
        "true: \"<|im_end|>\" written in a text becomes the special token");
}

template <class Visit, Like<CategoryConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("name", c.name, required_name(), "name of the task category, as in the data");
  visit("points", c.points, required_name(), "capability points; one expert each");
  visit("clear_margin", c.clear_margin, at_least(0), "a score gap below this is no preference; 0 = any gap counts");
  visit("responses_per_group_max", c.responses_per_group_max, at_least(0),
        "thin larger groups of this category by a seeded draw; 0 = as data.responses_per_group_max");
  visit("groups_max", c.groups_max, at_least(0),
        "train groups of this category, by a seeded draw; 0 = as data.groups_per_category_max");
}

template <class Visit, Like<TrainConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("trains", c.trains, one_of({"all", "lora"}), "every weight of the backbone, or an adapter");
  visit("lr", c.lr, above(0), "learning rate of AdamW");
  visit("beta1", c.beta1, share(), "decay of AdamW's first moment");
  visit("beta2", c.beta2, share(), "decay of AdamW's second moment");
  visit("eps", c.eps, above(0), "AdamW's epsilon");
  visit("weight_decay", c.weight_decay, at_least(0), "decoupled weight decay");
  visit("clip_norm", c.clip_norm, at_least(0), "largest norm of the whole gradient; 0 = off");
  visit("schedule", c.schedule, one_of({"constant", "linear", "cosine"}),
        "learning rate after the warm-up; linear and cosine go down to zero");
  visit("warmup_steps", c.warmup_steps, at_least(0), "steps of linear warm-up");
  visit("epochs_max", c.epochs_max, at_least(0), "passes over the groups");
  visit("steps_max", c.steps_max, at_least(0), "optimizer steps; 0 = as epochs_max says");
  visit("groups_per_step", c.groups_per_step, at_least(1), "global batch, in groups");
  visit("eval_every_steps", c.eval_every_steps, at_least(1), "steps between evaluations on the validation split");
  visit("patience", c.patience, at_least(1),
        "evaluations in a row that neither raise the accuracy nor lower the loss before stopping");
  visit("eval_groups_max", c.eval_groups_max, at_least(0), "validation groups of one evaluation, a fixed seeded draw; 0 = all");
  visit("reward_centring", c.reward_centring, at_least(0), "weight of mean(reward^2) in the loss; 0 = off");
  visit("checkpoint_every_s", c.checkpoint_every_s, at_least(0), "seconds between checkpoints; does not change the result");
  visit("checkpoints_kept", c.checkpoints_kept, at_least(1), "the last n checkpoints; each also holds the best weights so far");
  visit("shard", c.shard, any(),
        "where trains = all: optimizer state and gradients are spread over the group's ranks (ZeRO stage 2); same result");
  visit("recompute", c.recompute, any(),
        "keep only the layers' inputs and compute the rest again in the backward pass: less memory, more time, same result");
  visit("lora_layers", c.lora_layers, at_least(0),
        "adapt only the top n layers, where trains = lora; 0 = all. The states below are computed once (compute.trunk_cache_mb)");
  visit("lora_rank", c.lora_rank, between(1, 4096), "rank of the adapter, where trains = lora");
  visit("lora_alpha", c.lora_alpha, above(0), "the adapter's update is scaled by lora_alpha / lora_rank");
  visit("lora_dropout", c.lora_dropout, share(), "dropout before the adapter");
}

template <class Visit, Like<EndpointConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("url", c.url, required(), "base address of an OpenAI-compatible server, e.g. https://host/v1");
  visit("key_env", c.key_env, any(), "environment variable that holds the API key; empty = none");
  visit("key_file", c.key_file, optional_path(), "or a file of mode 0600 that holds it");
  visit("requests_per_minute", c.requests_per_minute, at_least(0), "0 = as the server's headers say, else no limit");
  visit("tokens_per_minute", c.tokens_per_minute, at_least(0), "0 = as the server's headers say, else no limit");
  visit("concurrency_max", c.concurrency_max, between(1, 4096), "requests in flight; how many it bears is found out");
  visit("ca_file", c.ca_file, optional_path(), "certificates to trust instead of the system's");
  visit("connect_timeout_s", c.connect_timeout_s, above(0), "seconds for name, connection and TLS");
  visit("request_timeout_s", c.request_timeout_s, above(0), "seconds of one try, to the last byte");
}

template <class Visit, Like<JudgeConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("model", c.model, required(), "the model's name as the server knows it");
  visit("endpoints", c.endpoints, required(), "its servers, asked side by side; one that fails is left out until it works again");
  visit("weight", c.weight, above(0), "of its votes, where several judges are asked");
  visit("via", c.via, one_of({"online", "batch"}), "batch = the provider's batch API: cheaper, within a day");
  visit("answer", c.answer, one_of({"auto", "json_schema", "verdict_line"}),
        "how it is told to answer; auto = json_schema if the server takes it, else verdict_line");
  visit("probabilities", c.probabilities, any(), "ask for token log-probabilities and keep that of the verdict");
  visit("temperature", c.temperature, between(0, 2), "of the sampling");
  visit("top_p", c.top_p, {.min = 0, .max = 1, .min_excluded = true},
        "of the sampling: only the likeliest tokens that make up this share; 1 = not sent");
  visit("seed", c.seed, at_least(-1), "of the server's draw, where it knows one; sample n is sent seed + n; -1 = not sent");
  visit("max_tokens", c.max_tokens, at_least(1), "of an answer; reserved in the budget");
  visit("context_tokens", c.context_tokens, at_least(64), "question and answer together");
  visit("tokenizer", c.tokenizer, optional_path(),
        "directory with the judge's tokenizer.json, to count tokens with; empty = an estimate");
  visit("price_prompt", c.price_prompt, at_least(0), "of a million prompt tokens, in `currency`");
  visit("price_completion", c.price_completion, at_least(0), "of a million completion tokens");
  visit("extra", c.extra, any(),
        "JSON object merged into every request, e.g. '{\"chat_template_kwargs\": {\"enable_thinking\": false}}'");
}

template <class Visit, Like<PairChoiceConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("choose", c.choose, one_of({"all", "per_group", "uncertain"}),
        "pairs of a group: all, `per_group` of them by a seeded draw, or those that the experts of `bundle` are least sure of");
  visit("per_group", c.per_group, at_least(1), "for per_group and uncertain: at most so many pairs of a group");
  visit("pairs_max", c.pairs_max, at_least(0), "pairs of one point over all groups; 0 = no limit");
  visit("bundle", c.bundle, optional_path(), "for uncertain: a finished model");
}

template <class Visit, Like<BudgetConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("cost_max", c.cost_max, at_least(0), "hard limit in `currency`, over all that the store has ever paid; 0 = none");
  visit("requests_max", c.requests_max, at_least(0), "likewise, in requests");
  visit("tokens_max", c.tokens_max, at_least(0), "likewise, in tokens");
}

template <class Visit, Like<LabelsConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("judges", c.judges, any(), "LLM judges that label the capability points; none = labels come from the data");
  visit("store", c.store, optional_path(), "directory of the label store; empty = `runs_dir`/labels, shared by the runs there");
  visit("prompt", c.prompt, any(), "prompt template of configs/judge: pairwise-en, pairwise-zh");
  visit("prompt_file", c.prompt_file, optional_path(), "a template of your own instead");
  visit("points_file", c.points_file, optional_path(), "what the points mean; empty = configs/judge/points-LANGUAGE.yaml");
  visit("splits", c.splits, {.words = {"train", "validation", "test"}, .required = true}, "splits whose groups are labelled");
  visit("samples", c.samples, between(1, 64), "questions of each order; more than 1 wants a temperature above 0");
  visit("pairs", c.pairs, any(), "which pairs are asked about");
  visit("too_long", c.too_long, one_of({"truncate", "skip"}), "a question that does not fit context_tokens");
  visit("vote", c.vote, one_of({"majority", "weights"}), "how several judges or samples become one outcome");
  visit("soft", c.soft, any(), "train with the share of the votes instead of their winner");
  visit("retry_errors", c.retry_errors, any(), "ask again what ended in an error in an earlier run");
  visit("currency", c.currency, required(), "name of the currency, for display");
  visit("batch_discount", c.batch_discount, between(0, 1), "price of a batch request, as a share of the full one");
  visit("budget", c.budget, any(), "when to stop; running again with a higher limit goes on");
}

template <class Visit, Like<RouterConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("lr", c.lr, above(0), "learning rate of AdamW");
  visit("steps_max", c.steps_max, at_least(1), "optimizer steps");
  visit("weight_decay", c.weight_decay, at_least(0), "decoupled weight decay");
  visit("confidence_min", c.confidence_min, between(0, 1), "below it the model of all categories scores instead");
  visit("pooling", c.pooling, one_of({"mean", "last"}), "which of the base states of the prompt the router reads");
}

template <class Visit, Like<AggregatorConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("kind", c.kind, one_of({"mlp", "linear", "best"}),
        "best = the mean, unless linear or mlp order held-out groups better by more than a standard error");
  visit("lr", c.lr, above(0), "learning rate of AdamW");
  visit("weight_decay", c.weight_decay, at_least(0), "decoupled weight decay");
  visit("clip_norm", c.clip_norm, at_least(0), "largest norm of the whole gradient; 0 = off");
  visit("steps_max", c.steps_max, at_least(1), "optimizer steps");
  visit("groups_per_step", c.groups_per_step, at_least(1), "global batch, in groups");
  visit("eval_every_steps", c.eval_every_steps, at_least(1), "steps between evaluations on the validation split");
  visit("patience", c.patience, at_least(1), "evaluations without a strict improvement before stopping");
}

template <class Visit, Like<ExpertsConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("train", c.train, any(), "one adapter and value head per capability point");
  visit("fuse", c.fuse, at_least(1), "experts of one category stepped together over one base: one task, which fails as a whole");
  visit("labels_min", c.labels_min, at_least(1),
        "a point with fewer ordered pairs in the groups of phase 1 (base_share of the train split) is refused");
}

template <class Visit, Like<ClusterConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("limit_s", c.limit_s, above(0), "seconds; a rank that is silent or a collective that takes longer ends the job");
  visit("retries", c.retries, at_least(0), "a task that failed is tried again so often, from its last checkpoint");
  visit("regroup", c.regroup, any(), "idle ranks join a running task at its next evaluation; same result");
  visit("wire", c.wire, one_of({"float32", "bfloat16"}),
        "gradients between ranks; bfloat16 halves the bytes, and the result then depends on the number of ranks");
  visit("share_gpu", c.share_gpu, any(), "let several ranks of a node use one GPU");
  visit("cost_per_device_hour", c.cost_per_device_hour, at_least(0), "for `dmoerm plan`, in `currency`");
  visit("currency", c.currency, required(), "name of the currency, for display");
}

template <class Visit, Like<SlurmConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("partition", c.partition, any(), "empty = the cluster's default");
  visit("account", c.account, any(), "empty = the cluster's default");
  visit("qos", c.qos, any(), "empty = the cluster's default");
  visit("constraint", c.constraint, any(), "node features, e.g. h100; nodes of one run want one kind of processor");
  visit("nodes", c.nodes, at_least(1), "nodes of the job");
  visit("ranks_per_node", c.ranks_per_node, at_least(1), "one a GPU, or one for some cores");
  visit("gpus_per_node", c.gpus_per_node, at_least(0), "0 = none is asked for");
  visit("cpus_per_rank", c.cpus_per_rank, at_least(0), "0 = compute.threads, and one for the coordinator");
  visit("memory", c.memory, any(), "of a node, e.g. 64G; empty = the cluster's default");
  visit("time", c.time, required(), "limit of one job; a longer run goes on in the next");
  visit("start", c.start, one_of({"srun", "mpirun"}), "how the ranks are started: srun --mpi=pmix, or mpirun");
  visit("signal_before_s", c.signal_before_s, at_least(1), "how long before its end the job is told to save");
  visit("requeue", c.requeue, any(), "go on in a new job after a preemption, a time limit or a lost node");
  visit("container", c.container, any(), "Apptainer image to run in; empty = none");
  visit("setup", c.setup, any(), "shell lines before the start, e.g. module load openmpi");
  visit("options", c.options, any(), "further #SBATCH options, e.g. --mail-type=END");
}

template <class Visit, Like<WatchConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("screen", c.screen, one_of({"auto", "on", "off"}),
        "one screen with every task; auto = if stderr is a terminal, else log lines");
  visit("every_s", c.every_s, above(0), "seconds between two looks of screen and status.json");
  visit("tensorboard", c.tensorboard, any(), "event files beside each task's metrics.jsonl");
  visit("port", c.port, between(-1, 65535), "status page and Prometheus metrics of rank 0; -1 = none, 0 = any free port");
  visit("address", c.address, required(), "address they are served on; beyond this machine only with a token");
  visit("token_env", c.token_env, any(), "environment variable with the token that readers must send; empty = none");
}

template <class Visit, Like<RunConfig> Section>
void describe(Visit& visit, Section& c) {
  visit("name", c.name, required_name(), "the run's directory is `runs_dir`/`name`");
  visit("runs_dir", c.runs_dir, required(), "where runs are kept, relative to the current directory");
  visit("seed", c.seed, any(), "of every draw of the run");
  visit("log_level", c.log_level, one_of({"debug", "info", "warn", "error"}), "what rank 0 logs");
  visit("base_share", c.base_share, {.min = 0, .max = 1, .min_excluded = true, .max_excluded = true},
        "share of the train groups for phase 1; the rest trains the aggregator");
  visit("backbone", c.backbone, any(), "the pretrained model");
  visit("compute", c.compute, any(), "where and how the arithmetic runs");
  visit("data", c.data, any(), "preference data and how it is cut");
  visit("categories", c.categories, required(), "task categories and their capability points");
  visit("labels", c.labels, any(), "capability labels from LLM judges");
  visit("router", c.router, any(), "which category a prompt belongs to");
  visit("base", c.base, any(), "phase 1, and the baselines");
  visit("experts", c.experts, any(), "phase 2");
  visit("aggregator", c.aggregator, any(), "phase 3");
  visit("cluster", c.cluster, any(), "how ranks work together");
  visit("slurm", c.slurm, any(), "the job script of `dmoerm launch --slurm`");
  visit("watch", c.watch, any(), "how a run shows what it does");
  visit("baselines", c.baselines, any(), "train the single model and one per category on all train groups beside it");
}

}  // namespace dmoerm::config
