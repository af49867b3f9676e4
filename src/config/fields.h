// The one table of configuration keys: name, member, range, what it affects, meaning. Reading, writing, comparing, the identities
// of a run's stages and the reference all visit it: a new key is one line here, and its member with the default in the struct.
#pragma once
#include "config/label_fields.h"

namespace dmoerm::config {

// describe(visit, section) calls visit(name, member, rule, affects, meaning) for each key in the order of the canonical text.

template <class Visit, Like<BackboneConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("dir", c.dir, required_path(), tokens | result | by_content,
        "Hugging Face directory of the pretrained backbone, with config.json, safetensors files and tokenizer.json.");
  visit("chat_template", c.chat_template, one_of_or_file({"chatml", "llama3", "mistral", "plain", "dmoerm"}), tokens | by_content,
        "Template that turns a conversation into one text: a name, or the file that launch/pin_chat_template.py wrote for the "
        "model's own template. Choose the one that the backbone was trained with.");
  visit("layers", c.layers, at_least(0), result,
        "Number of layers used, counted from the input; 0 means all. Fewer layers are faster and less accurate.");
}

template <class Visit, Like<ComputeConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("device", c.device, one_of(c.device), result | by_content,
        "Device that computes. The value auto takes a GPU if the build and the machine have one, else the CPU.");
  visit("dtype", c.dtype, one_of(c.dtype), result,
        "Number type of the backbone's weights, hidden states and products. The value bfloat16 halves their memory. Gradients, "
        "optimizer state and sums are float32 with either.");
  visit("threads", c.threads, between(1, 1024), result,
        "Threads of each rank. Another number may round sums differently, so it counts as another run.");
  visit("trunk_cache_mb", c.trunk_cache_mb, at_least(0), nothing,
        "Memory of each rank, in MiB, for hidden states of the layers below the adapted ones (lora_layers). More memory saves "
        "time; 0 computes them every time.");
  visit("micro_batch_tokens", c.micro_batch_tokens, at_least(1), result,
        "Largest number of tokens in one forward pass; a prompt whose responses have more goes through several. More tokens need "
        "more memory and are faster. The number fixes the order of sums, so it counts as another run.");
  visit("peak_tflops", c.peak_tflops, at_least(0), nothing,
        "Peak speed of one rank's device in TFLOP/s, used to show utilisation and to plan; with 0 the program "
        "measures a CPU and looks up common GPUs.");
}

template <class Visit, Like<InputConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("path", c.path, required_path(), groups, "File of JSON lines, plain or compressed (.gz, .zst).");
  visit("format", c.format, any(), groups,
        "Data format of the file, one of those that `dmoerm ingest --formats` lists; auto detects it from the first row.");
  visit("category", c.category, any(), groups, "Category of all rows of the file; empty means that each row names its own.");
  visit("split", c.split, one_of(c.split), groups,
        "Split of all rows of the file; empty means the row's own, and where a row has none, a split drawn by its prompt.");
  visit("weight", c.weight, above(0), groups,
        "Weight of the file's train groups. Below 1 it is the share of them that is used, by a seeded draw; a whole number from "
        "1 is how often an epoch visits each.");
}

template <class Visit, Like<DataConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("inputs", c.inputs, required(), kByKey, "Files with the preference data.");
  visit("max_length", c.max_length, at_least(2), tokens,
        "Largest number of tokens in prompt and response together. A longer prompt loses its start.");
  visit("min_prompt_tokens", c.min_prompt_tokens, at_least(1), tokens,
        "Tokens of a prompt that are never cut. A response that leaves less room for the prompt loses its end.");
  visit("bad_lines_max", c.bad_lines_max, at_least(0), groups,
        "Largest number of unreadable lines, over all files, that are skipped; more end the program.");
  visit("responses_per_group_max", c.responses_per_group_max, at_least(0), groups,
        "Largest number of responses kept of one train prompt, by a seeded draw; 0 keeps all. Validation and test keep all of "
        "theirs.");
  visit("groups_per_category_max", c.groups_per_category_max, at_least(0), groups,
        "Largest number of train groups kept in one category, by a seeded draw; 0 keeps all.");
  visit("validation_share", c.validation_share, share(), groups,
        "Share of the conversations that becomes the validation split, among those whose rows name no split.");
  visit("test_share", c.test_share, share(), groups,
        "Share of the conversations that becomes the test split, among those whose rows name no split.");
  visit("special_tokens_in_text", c.special_tokens_in_text, any(), tokens,
        "Whether a special token that is written out in a text, such as \"<|im_end|>\", becomes that token. With false it stays "
        "ordinary text.");
}

template <class Visit, Like<ImportedExpertConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("point", c.point, required_name(), result | by_content, "Capability point whose expert the adapter is.");
  visit("dir", c.dir, required_path(), result | by_content,
        "Directory with adapter_config.json and adapter_model.safetensors: LoRA on the queries and values of the pretrained "
        "backbone, with the head.");
}

template <class Visit, Like<CategoryConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("name", c.name, required_name(), groups | result, "Name of the task category, as the data spells it.");
  visit("points", c.points, required_name(), groups | result, "Capability points of the category. Each gets one expert.");
  visit("score_gap_min", c.score_gap_min, at_least(0), result,
        "Smallest gap between two scores that counts as a preference; 0 counts every gap. Either one number for all labels, or "
        "one for each, such as {overall: 1, coherence: 0.5}; for a label that is left out, every gap counts.");
  visit("responses_per_group_max", c.responses_per_group_max, at_least(0), groups,
        "Largest number of responses kept of one train prompt of this category, by a seeded draw; 0 means "
        "data.responses_per_group_max.");
  visit("groups_max", c.groups_max, at_least(0), groups,
        "Largest number of train groups kept of this category, by a seeded draw; 0 means data.groups_per_category_max.");
  visit("imported_experts", c.imported_experts, any(), kByKey,
        "PEFT adapters of other programs that become the experts of some points; the run does not train experts for these "
        "points. This needs base.tuning: lora.");
}

template <class Visit, Like<TrainConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("tuning", c.tuning, one_of(c.tuning), result,
        "Weights that are trained: full trains every weight of the backbone, lora trains an adapter beside it. Experts "
        "take lora only.");
  visit("lr", c.lr, above(0), result,
        "Learning rate of AdamW after the warm-up. An adapter (tuning: lora) needs about ten times that of full tuning, and the "
        "default of base.lr is then 1e-4; models of 22 to 135 million parameters learned best with 1e-3 to 3e-3.");
  visit("beta1", c.beta1, share(), result, "Decay rate of AdamW's first moment.");
  visit("beta2", c.beta2, share(), result, "Decay rate of AdamW's second moment.");
  visit("eps", c.eps, above(0), result, "Epsilon of AdamW, which keeps its quotient finite.");
  visit("weight_decay", c.weight_decay, at_least(0), result,
        "Decoupled weight decay of AdamW on matrices, the head among them; norms and biases have none. 0 turns it off.");
  visit("max_grad_norm", c.max_grad_norm, at_least(0), result,
        "Largest norm of the gradient; a longer gradient is scaled down to it. 0 turns clipping off.");
  visit("schedule", c.schedule, one_of(c.schedule), result,
        "Learning-rate schedule after the warm-up; linear and cosine fall to zero at the last step.");
  visit("warmup_steps", c.warmup_steps, at_least(0), result,
        "Steps in which the learning rate rises linearly from zero; must be fewer than the training has.");
  visit("epochs_max", c.epochs_max, at_least(0), result,
        "Largest number of epochs (visits of all groups); part of an epoch is allowed. It has no effect if steps_max is set.");
  visit("steps_max", c.steps_max, at_least(0), result, "Largest number of optimizer steps; 0 means that epochs_max decides.");
  visit("groups_per_step", c.groups_per_step, at_least(1), result, "Groups in one optimizer step, over all ranks together.");
  visit("eval_every_steps", c.eval_every_steps, at_least(1), result, "Steps between two evaluations on the validation split.");
  visit("patience", c.patience, at_least(1), result,
        "Evaluations in a row that neither raise the accuracy nor lower the loss, after which training stops early.");
  visit("eval_groups_max", c.eval_groups_max, at_least(0), result,
        "Validation groups used in each evaluation, the same ones every time by a seeded draw; 0 means all.");
  visit("select_by", c.select_by, one_of(c.select_by), result,
        "Validation figure that chooses which weights a training keeps: accuracy (at equal accuracy, the lower loss), or loss, "
        "which is less noisy if the validation split is small.");
  visit("average_decay", c.average_decay, share(), result,
        "Decay rate of an exponential moving average of the trained weights. Training then evaluates and keeps the average "
        "instead of the last step's weights; 0.99 averages over about a hundred steps. 0 turns it off.");
  visit("soft_gaps", c.soft_gaps, at_least(0), result,
        "Makes soft targets of score gaps: a pair whose scores differ by g has the target sigmoid(g / (soft_gaps * m)), where m "
        "is the mean gap of the label's train pairs. Pairs without scores, and those that judges labelled, stay as they are. 0 "
        "turns it off.");
  visit(
      "ties", c.ties, one_of(c.ties), result,
      "Ties that have the target 0.5 in training. With judged, those of verdicts: judged ties, and verdicts that differ between "
      "the two orders. The verdicts are those of labels.judges, or of the data's rows; overall labels have only the rows'. With "
      "all, equal scores and statements that contradict each other too. The other ties are left out.");
  visit("center_rewards_coefficient", c.center_rewards_coefficient, at_least(0), result,
        "Weight of the mean squared reward in the loss, which keeps rewards near zero; 0 turns it off.");
  visit("checkpoint_every_s", c.checkpoint_every_s, at_least(0), nothing,
        "Seconds between two checkpoints. After a crash, at most this much work is lost.");
  visit("checkpoints_kept", c.checkpoints_kept, at_least(1), nothing,
        "Number of newest checkpoints kept on disk. Each also holds the best weights so far.");
  visit("shard", c.shard, any(), nothing,
        "Whether ranks share optimizer state and gradients among them (ZeRO stage 2), where tuning is full. It saves memory on "
        "several ranks.");
  visit("gradient_checkpointing", c.gradient_checkpointing, any(), nothing,
        "Whether the backward pass computes hidden states again instead of keeping them. It saves memory and takes more time.");
  visit("lora_layers", c.lora_layers, at_least(0), result,
        "Number of layers that get an adapter, counted from the output, where tuning is lora; 0 means all. Hidden states of the "
        "other layers are computed once and kept (compute.trunk_cache_mb).");
  visit("lora_rank", c.lora_rank, between(1, 4096), result,
        "Rank of the adapter, where tuning is lora. With base.tuning: lora, base and experts need the same rank, alpha and "
        "layers.");
  visit("lora_alpha", c.lora_alpha, above(0), result,
        "Scale of the adapter: its update is multiplied by lora_alpha / lora_rank.");
  visit("lora_dropout", c.lora_dropout, share(), result,
        "Probability of dropout on the adapter's input. The adapters of q and v in a layer share a mask.");
}

template <class Visit, Like<BaseConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit(
      "labels", c.labels, one_of(c.labels), result,
      "Labels that the base of a category learns from. The value all adds the pairs of all its capability points to the overall "
      "preferences, for one head, so an epoch is longer; overall preferences still decide when it stops.");
  visit("start", c.start, one_of(c.start), result,
        "Weights that the base of a category starts from: those of the backbone, or those of one more model, which is first "
        "trained on the phase-1 prompts of all categories.");
  using Train = std::conditional_t<std::is_const_v<Section>, const TrainConfig, TrainConfig>;
  describe(visit, static_cast<Train&>(c));
}

template <class Visit, Like<RouterConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit(
      "kind", c.kind, one_of(c.kind), result,
      "Router that sends a prompt to a category: trained is a linear classifier of the categories of the train prompts; clusters "
      "finds clusters of prompts without the categories, and sends each cluster to the category that most of its train prompts "
      "have; reward is a linear head that predicts how well each category's phase-1 model orders the pairs of prompts that it "
      "was not trained on. The kind reward waits for phase 1, and reads these prompts once with the model of every category.");
  visit("lr", c.lr, above(0), result, "Learning rate of AdamW.");
  visit("steps_max", c.steps_max, at_least(1), result, "Number of optimizer steps.");
  visit("weight_decay", c.weight_decay, at_least(0), result, "Decoupled weight decay of AdamW; 0 turns it off.");
  visit("confidence_min", c.confidence_min, between(0, 1), result,
        "Smallest probability of the most probable category; below it, the single model scores the prompt.");
  visit(
      "keep_share", c.keep_share, between(0, 1), result,
      "Share of its categories' prompts that the router keeps. The rest are those farthest from what it was fitted on; they, and "
      "prompts of no category at such a distance, go to the single model. 1 keeps every prompt.");
  visit(
      "depth", c.depth, between(0, 1), result,
      "Share of the backbone's layers below the state that the router reads, rounded up, at least one; 1 is the state after the "
      "last norm. States at two thirds of the depth recognise prompts of no category best.");
  visit("pooling", c.pooling, one_of(c.pooling), result,
        "Hidden state that the router reads: the mean over the prompt's tokens, or that of the last token.");
  visit("clusters", c.clusters, at_least(1), result,
        "Number of clusters of prompts, where kind is clusters; at least one for each category.");
  visit("own_share", c.own_share, between(0, 1), result,
        "Share of a prompt's own log-likelihoods in the targets of the kind reward; the rest are their means over the prompts of "
        "its category, which are less noisy.");
  visit("reward_temperature", c.reward_temperature, above(0), result,
        "Temperature of the kind reward: its targets are the softmax of the log-likelihoods divided by it. A lower temperature "
        "makes sharper targets.");
  visit(
      "mix_top", c.mix_top, between(1, 2), result,
      "Number of categories whose rewards are mixed, in proportion to their probabilities, where two categories are nearly "
      "equally probable; 1 turns it off. Rewards of the second category are brought to the mean and spread of the first one's.");
  visit("mix_gap", c.mix_gap, between(0, 1), result,
        "Largest difference of the two highest probabilities at which mix_top = 2 mixes.");
}

template <class Visit, Like<AggregatorConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit(
      "kind", c.kind, one_of(c.kind), result,
      "Function that combines the experts' outputs into one reward: their mean; stack, a weighted sum of them and the base's "
      "reward; gate, the same with weights that depend on the prompt; mlp, the stack and a small network; paper_mlp, the paper's "
      "network; wco, the smallest; uwo, the mean minus a multiple of the variance. The value best takes the stack, unless the "
      "mean, "
      "gate or mlp orders held-out groups better by more than one standard error.");
  visit("base_reward", c.base_reward, any(), result,
        "Whether stack, gate and mlp also read the overall reward of the category's phase-1 model.");
  visit("gate_lr", c.gate_lr, above(0), result, "Learning rate of AdamW for gate.");
  visit("gate_weight_decay", c.gate_weight_decay, at_least(0), result,
        "Decoupled weight decay of AdamW for gate; 0 turns it off.");
  visit("mlp_lr", c.mlp_lr, above(0), result, "Learning rate of AdamW for mlp.");
  visit("mlp_weight_decay", c.mlp_weight_decay, at_least(0), result, "Decoupled weight decay of AdamW for mlp; 0 turns it off.");
  visit("lr", c.lr, above(0), result, "Learning rate of AdamW for paper_mlp.");
  visit("weight_decay", c.weight_decay, at_least(0), result, "Decoupled weight decay of AdamW for paper_mlp; 0 turns it off.");
  visit("max_grad_norm", c.max_grad_norm, at_least(0), result,
        "Largest norm of the gradient; a longer gradient is scaled down to it. 0 turns clipping off.");
  visit("steps_max", c.steps_max, at_least(1), result, "Largest number of optimizer steps.");
  visit("groups_per_step", c.groups_per_step, at_least(1), result, "Groups in one optimizer step.");
  visit("eval_every_steps", c.eval_every_steps, at_least(1), result,
        "Steps between two evaluations: of gate and mlp on a fold of the train groups, of paper_mlp on the validation split.");
  visit(
      "patience", c.patience, at_least(1), result,
      "Evaluations in a row without an improvement, after which training stops early. Gate and mlp improve by loss, paper_mlp by "
      "accuracy.");
}

template <class Visit, Like<ExpertsConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("train", c.train, any(), kByKey, "Training of one adapter and value head for each capability point.");
  visit("per_task", c.per_task, at_least(1), result | by_content,
        "Number of experts of one category that one task trains together over one copy of the base. More share the work of the "
        "base, need more memory, and fail together.");
  visit("base_weights", c.base_weights, one_of(c.base_weights), result,
        "Number type in which the frozen base is multiplied while experts train: float32, or int8 on a CPU, which makes the "
        "forward pass faster and less exact. The backward pass and everything after the training read float32.");
  visit("labels_min", c.labels_min, at_least(1), nothing,
        "Smallest number of ordered pairs that a capability point needs in the groups of phase 1; the run is refused if one has "
        "fewer. The groups outside of each fold need half as many.");
}

template <class Visit, Like<ClusterConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("timeout_s", c.timeout_s, above(0), nothing,
        "Seconds that a rank may be silent before the job ends. A collective also ends if no other rank of its task has worked "
        "for that time. Waiting for the end of a task may take ten times as long, the start of MPI five times.");
  visit("retries", c.retries, at_least(0), nothing, "Number of times a failed task is tried again, from its last checkpoint.");
  visit("regroup", c.regroup, any(), nothing, "Whether idle ranks join a running task at its next evaluation.");
  visit("gradient_dtype", c.gradient_dtype, one_of(c.gradient_dtype), result,
        "Number type of gradients sent between ranks. The value bfloat16 halves the bytes; the result then depends on the number "
        "of ranks.");
  visit("share_gpu", c.share_gpu, any(), nothing, "Whether several ranks of a node may use one GPU.");
  visit("memory_gib", c.memory_gib, at_least(0), nothing,
        "Memory of each rank in GiB, beyond which no task is placed; 0 measures it: the free memory of its GPU, or its share of "
        "the memory of its host or control group.");
  visit("checkpoint_mib_s", c.checkpoint_mib_s, at_least(0), nothing,
        "Rate at which checkpoints are written and read, in MiB/s; it gives the cost of a pause. 0 measures it in the run, and "
        "assumes 500 until then.");
  visit("cost_per_device_hour", c.cost_per_device_hour, at_least(0), nothing,
        "Price of one device for one hour, in cluster.currency, from which `dmoerm plan` computes costs; 0 shows none.");
  visit("currency", c.currency, required(), nothing, "Currency of cost_per_device_hour, for display.");
}

template <class Visit, Like<SlurmConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("partition", c.partition, any(), nothing, "Slurm partition; empty means the cluster's default.");
  visit("account", c.account, any(), nothing, "Slurm account; empty means the cluster's default.");
  visit("qos", c.qos, any(), nothing, "Slurm quality of service; empty means the cluster's default.");
  visit("constraint", c.constraint, any(), nothing,
        "Node features, e.g. h100. All nodes of a run should have the same processor, or results may differ in bits.");
  visit("nodes", c.nodes, at_least(1), nothing, "Number of nodes.");
  visit("ranks_per_node", c.ranks_per_node, at_least(1), nothing,
        "Ranks on each node: one for each GPU; on CPUs one for every few cores.");
  visit("gpus_per_node", c.gpus_per_node, at_least(0), nothing, "GPUs requested on each node; 0 requests none.");
  visit("cpus_per_rank", c.cpus_per_rank, at_least(0), nothing,
        "Cores of each rank; 0 means compute.threads plus one for the coordinator.");
  visit("memory", c.memory, any(), nothing, "Memory of each node, e.g. 64G; empty means the cluster's default.");
  visit("time", c.time, required(), nothing, "Time limit of one job. A longer run continues in the next job.");
  visit("start", c.start, one_of(c.start), nothing, "Program that starts the ranks: srun (with --mpi=pmix) or mpirun.");
  visit("signal_before_s", c.signal_before_s, at_least(1), nothing,
        "Seconds before the end of the job at which Slurm tells it to save and stop.");
  visit("requeue", c.requeue, any(), nothing,
        "Whether the run continues in a new job after a preemption, a time limit or a lost node.");
  visit("container", c.container, any(), nothing, "Apptainer image that the ranks run in; empty means none.");
  visit("setup", c.setup, any(), nothing, "Shell lines before the start of the ranks, e.g. module load openmpi.");
  visit("options", c.options, any(), nothing, "Further options of sbatch, e.g. --mail-type=END.");
}

template <class Visit, Like<WatchConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("screen", c.screen, one_of(c.screen), nothing,
        "Screen that shows every task. The value auto shows it if stderr is a terminal, and log lines otherwise.");
  visit("every_s", c.every_s, above(0), nothing, "Seconds between two updates of the screen and of status.json.");
  visit("tensorboard", c.tensorboard, any(), nothing, "Whether TensorBoard event files are written beside each metrics.jsonl.");
  visit("port", c.port, between(-1, 65535), nothing,
        "TCP port of the first rank's status page and Prometheus metrics; -1 serves none, 0 takes any free port.");
  visit("address", c.address, required(), nothing,
        "Address that the status page listens on. One that other machines can reach needs token_env.");
  visit("token_env", c.token_env, any(), nothing,
        "Environment variable that holds the token which readers of the status page must send; empty means that none is needed.");
}

template <class Visit, Like<HeadConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit(
      "reads", c.reads, one_of(c.reads), result,
      "State of the last layer (backbone.layers chooses it) that heads read: that of the response's last token (encoders: of the "
      "text's first), or the mean over the response's tokens. transformers' sequence classifiers cannot read the mean, so "
      "such a model is not exported in their form.");
  visit("start", c.start, one_of(c.start), result,
        "Initial value heads. With random, those of phase 1 are small random numbers, and those of experts are copies of their "
        "base's. With ridge, all start from a ridge regression on the hidden states of their train pairs before training (of at "
        "most "
        "2000 groups), which is shrunk to zero in phase 1 and to the base's head for experts.");
}

template <class Visit, Like<RunConfig> Section>
void describe(Visit& visit, Section& c) {
  using enum Affects;
  visit("name", c.name, required_name(), nothing, "Name of the run. Its directory is `runs_dir`/`name`.");
  visit("runs_dir", c.runs_dir, required_place(), nothing, "Directory of all runs, relative to the current directory.");
  visit("seed", c.seed, any(), groups | labels | result, "Seed of every random draw of the run.");
  visit("method", c.method, one_of(c.method), nothing,
        "Set of defaults for other keys. With paper, aggregator.kind is paper_mlp, aggregator.base_reward is false, and "
        "experts.train.ties is none, unless they are given.");
  visit("log_level", c.log_level, one_of(c.log_level), nothing, "Least severe level that the first rank logs.");
  visit("phase1_share", c.phase1_share, {.min = 0, .max = 1, .min_excluded = true, .max_excluded = true}, result,
        "Share of the train groups that phases 1 and 2 train on. The rest trains the aggregator. It has no effect if folds is "
        "set, and it turns the default of folds off.");
  visit("single_lr", c.single_lr, at_least(0), result,
        "Learning rate of the models that are trained on all categories together: the single model, and the one that the bases "
        "start from with base.start: all_categories. It may have to be lower than that of a category, because prompts of one "
        "category agree more; 0 takes base.lr.");
  visit("folds", c.folds, between(0, 10), result,
        "Number of folds, 2 to 10, into which the train prompts of a category are divided. For each fold a base and experts are "
        "trained on the other folds, and compute the features of its prompts for the aggregator. Then base and experts are "
        "trained on all train groups. All labels serve all phases, at the cost of `folds` more trainings. 0 divides the train "
        "groups by phase1_share instead. The default is 0 also with base.tuning: lora if method is paper or phase1_share is "
        "given.");
  visit("backbone", c.backbone, any(), kByKey, "Pretrained model that everything starts from.");
  visit("compute", c.compute, any(), kByKey, "Device, number type and memory of the computation.");
  visit("data", c.data, any(), kByKey, "Preference data, and how it is truncated and split.");
  visit("categories", c.categories, required(), kByKey, "Task categories with their capability points.");
  visit("labels", c.labels, any(), kByKey, "Capability labels from LLM judges.");
  visit("router", c.router, any(), kByKey, "Classifier that predicts a prompt's category.");
  visit("head", c.head, any(), kByKey, "What the value heads of all reward models read, and how they are initialised.");
  visit("base", c.base, any(), kByKey, "Training of phase 1 (one model per category) and of the baselines.");
  visit("experts", c.experts, any(), kByKey, "Training of phase 2: one expert per capability point.");
  visit("aggregator", c.aggregator, any(), kByKey, "Training of phase 3: one reward from all experts of a category.");
  visit("cluster", c.cluster, any(), kByKey, "Work of several ranks together.");
  visit("slurm", c.slurm, any(), kByKey, "Job script that `dmoerm slurm` writes.");
  visit("watch", c.watch, any(), kByKey, "Display of a run while it works.");
  visit("baselines", c.baselines, any(), result,
        "Whether one baseline model per category is trained on all its train groups, for comparison.");
  visit("pooled_baseline", c.pooled_baseline, any(), result,
        "Whether another baseline model per category is trained on the same groups, on overall preferences and the pairs of all "
        "capability points together. It may take as many tokens as base and experts.");
}

}  // namespace dmoerm::config
