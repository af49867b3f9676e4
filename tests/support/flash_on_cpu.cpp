// What libtorch's flash attention computes, registered for tensors on the CPU, so that the code around it runs without a GPU. It
// rounds where the kernels round (only results, to their dtype) and answers sequences without keys as they do: zeros, and a
// log-sum-exp of +infinity. It refuses a backward pass in which the kernels would add in any order. Boxed, because the operators'
// C++ signatures differ between versions of torch.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <limits>

namespace {

using torch::jit::Stack;

/// The arguments that forward and backward have in common.
struct Call {
  at::Tensor q, k, v, q_offsets, k_offsets;
  bool causal;
  double scale;

  [[nodiscard]] std::int64_t repeat() const { return q.size(1) / k.size(1); }
};

/// Queries and keys of one sequence.
struct Ranges {
  std::int64_t q_begin, q_end, k_begin, k_end;
};

template <class Function>
void for_each_sequence(const Call& call, const Function& function) {
  const auto at = [](const at::Tensor& offsets, std::int64_t i) { return offsets[i].item<std::int64_t>(); };
  for (std::int64_t i = 0; i + 1 < call.q_offsets.numel(); ++i) {
    const Ranges r{at(call.q_offsets, i), at(call.q_offsets, i + 1), at(call.k_offsets, i), at(call.k_offsets, i + 1)};
    if (r.q_end > r.q_begin && r.k_end > r.k_begin) function(r);
  }
}

/// Rows as [heads, rows, head_dim] in float32, each head `repeat` times.
at::Tensor wide(const at::Tensor& x, std::int64_t begin, std::int64_t end, std::int64_t repeat) {
  return x.slice(0, begin, end).to(at::kFloat).repeat_interleave(repeat, 1).transpose(0, 1);
}

at::Tensor scores(const Call& c, const Ranges& r) {
  at::Tensor s =
      at::bmm(wide(c.q, r.q_begin, r.q_end, 1), wide(c.k, r.k_begin, r.k_end, c.repeat()).transpose(1, 2)).mul_(c.scale);
  const std::int64_t queries = r.q_end - r.q_begin, keys = r.k_end - r.k_begin;
  if (c.causal)  // the last query sees the last key
    s.masked_fill_(at::ones({queries, keys}, at::kBool).triu(keys - queries + 1), -std::numeric_limits<double>::infinity());
  return s;
}

void forward(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const std::size_t count = op.schema().arguments().size();
  const auto tensor = [&](std::size_t i) { return torch::jit::peek(*stack, i, count).toTensor(); };
  const Call c{tensor(0),
               tensor(1),
               tensor(2),
               tensor(3),
               tensor(4),
               torch::jit::peek(*stack, 8, count).toBool(),
               torch::jit::peek(*stack, 10, count).toDouble()};
  const at::Tensor out = at::zeros(c.q.sizes(), c.q.options());
  const at::Tensor lse = at::full({c.q.size(1), c.q.size(0)}, std::numeric_limits<float>::infinity(), at::kFloat);
  for_each_sequence(c, [&](const Ranges& r) {
    const at::Tensor s = scores(c, r), l = s.logsumexp(-1);
    lse.slice(1, r.q_begin, r.q_end).copy_(l);
    out.slice(0, r.q_begin, r.q_end)
        .copy_(at::bmm((s - l.unsqueeze(-1)).exp(), wide(c.v, r.k_begin, r.k_end, c.repeat())).transpose(0, 1));
  });
  torch::jit::drop(*stack, count);
  torch::jit::push(*stack, out, lse, at::zeros({2}, at::kLong), at::zeros({0}, at::kLong), at::zeros({0}));
}

void backward(const c10::OperatorHandle& op, c10::DispatchKeySet, Stack* stack) {
  const at::Context& context = at::globalContext();
  TORCH_CHECK(context.deterministicAlgorithms() && !context.deterministicAlgorithmsWarnOnly(), "dq would have no fixed order");
  const std::size_t count = op.schema().arguments().size();
  const auto tensor = [&](std::size_t i) { return torch::jit::peek(*stack, i, count).toTensor(); };
  const at::Tensor dout = tensor(0), out = tensor(4), lse = tensor(5);
  const Call c{tensor(1),
               tensor(2),
               tensor(3),
               tensor(6),
               tensor(7),
               torch::jit::peek(*stack, 11, count).toBool(),
               torch::jit::peek(*stack, 14, count).toDouble()};
  const at::Tensor dq = at::zeros(c.q.sizes(), c.q.options()), dk = at::zeros(c.k.sizes(), c.k.options()),
                   dv = at::zeros(c.v.sizes(), c.v.options());
  for_each_sequence(c, [&](const Ranges& r) {
    const at::Tensor p = (scores(c, r) - lse.slice(1, r.q_begin, r.q_end).unsqueeze(-1)).exp();
    const at::Tensor g = wide(dout, r.q_begin, r.q_end, 1), k = wide(c.k, r.k_begin, r.k_end, c.repeat()),
                     v = wide(c.v, r.k_begin, r.k_end, c.repeat());
    const at::Tensor slope = (g * wide(out, r.q_begin, r.q_end, 1)).sum(-1, true);
    const at::Tensor ds = p * (at::bmm(g, v.transpose(1, 2)) - slope) * c.scale;
    const auto of_keys = [&](const at::Tensor& x) {  // sums over the query heads of a key's head
      return x.reshape({c.k.size(1), c.repeat(), r.k_end - r.k_begin, -1}).sum(1).transpose(0, 1);
    };
    dq.slice(0, r.q_begin, r.q_end).copy_(at::bmm(ds, k).transpose(0, 1));
    dk.slice(0, r.k_begin, r.k_end).copy_(of_keys(at::bmm(ds.transpose(1, 2), wide(c.q, r.q_begin, r.q_end, 1))));
    dv.slice(0, r.k_begin, r.k_end).copy_(of_keys(at::bmm(p.transpose(1, 2), g)));
  });
  torch::jit::drop(*stack, count);
  torch::jit::push(*stack, dq, dk, dv);
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, CPU, m) {
  m.impl("_flash_attention_forward", torch::CppFunction::makeFromBoxedFunction<&forward>());
  m.impl("_flash_attention_backward", torch::CppFunction::makeFromBoxedFunction<&backward>());
}
