#include "nn/projection.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>

#include "base/rng.h"
#include "nn/device.h"
#include "nn/int8_product.h"
#include "nn/low_rank_cpu.h"
#include "nn/ops.h"
#include "nn/ops_cpu.h"
#include "nn/panel_product.h"
#include "nn/panel_sum.h"
#include "nn/product_cpu.h"

namespace dmoerm::nn {
namespace {

/// Whether a product is one of panel_product.h.
bool by_panels(const at::Tensor& x, bool steady) { return kPanelsAreFast && steady && cpu::takes(x); }

/// Whether products with these rows are those of product_cpu.h, if it takes the matrices.
bool multiplies(const at::Tensor& x) { return x.is_cpu() && cpu::multiplies_itself(); }

/// x w (+ addend) by product_cpu.h; undefined where that is not faster. @param addend  [rows, outputs], [outputs] or undefined
at::Tensor own_product(const at::Tensor& x, const at::Tensor& w, const at::Tensor& addend = {}) {
  if (!multiplies(x)) return {};
  const at::Tensor y = at::empty({x.size(0), w.size(1)}, x.options());
  if (!cpu::takes_product(y, x, w)) return {};
  RECORD_FUNCTION("nn::product", {});
  if (addend.defined()) {
    cpu::product_and_sum(y, x, w, addend);
  } else {
    cpu::product(y, x, w, 1, false);
  }
  return y;
}

/// The adapter's input in one layer: an expert's rows after dropout.
at::Tensor adapter_input(const AdapterRows& rows, std::size_t layer, const at::Tensor& n_TD) {
  const at::Tensor own = n_TD.narrow(0, rows.first_row, rows.rows);
  const double p = rows.adapter->lora().dropout;
  return rows.dropout_key == 0 || p <= 0 ? own : dropout(own, p, mix64(rows.dropout_key + layer), 0);
}

/// The read rows of one expert, numbered from its first row.
at::Tensor own_reads(const AdapterRows& rows, const LayerBatch& batch) {
  return batch.read_rows_R.narrow(0, rows.first_read, rows.reads) - rows.first_row;
}

/// The tensor that holds q, k, v (or k, v) side by side, found from its first part.
at::Tensor widen(const at::Tensor& first, std::int64_t columns) {
  return first.as_strided({first.size(0), columns}, {first.stride(0), 1});
}

/// sink += scale * a b, in float32.
void add_product(at::Tensor sink, const at::Tensor& a, const at::Tensor& b, double scale = 1) {
  if (cpu::multiplies_itself() && cpu::takes_product(sink, a, b))
    return cpu::product(sink, a, b, static_cast<float>(scale), true);
  if (sink.scalar_type() == a.scalar_type()) {
    sink.addmm_(a, b, 1, scale);
  } else if (computes_in_bfloat16(sink.device())) {  // the product itself adds
    at::addmm_out(sink, sink, a, b, at::kFloat, 1, scale);
  } else {
    sink.add_(product_in_float(a, b), scale);
  }
}

/// The same for a product with LoRA's rank on one side.
void add_thin_product(const at::Tensor& sink, const at::Tensor& a, const at::Tensor& b, double scale = 1) {
  if (cpu::takes_product(sink, a, b)) return cpu::product(sink, a, b, static_cast<float>(scale), true);
  add_product(sink, a, b, scale);
}

/// out = scale * a b for such a product.
void thin_product(at::Tensor out, const at::Tensor& a, const at::Tensor& b, double scale) {
  if (cpu::takes_product(out, a, b)) return cpu::product(out, a, b, static_cast<float>(scale), false);
  at::mm_out(out, a, b);
  if (scale != 1) out.mul_(scale);
}

/// Gradients of q, k and v in the dtype of the states, for the products.
Qkv in_dtype(const LayerCall& call, const Qkv& d, at::ScalarType dtype) {
  const std::int64_t q = call.spec.q_width(), kv = call.spec.kv_width(), begin = call.ends_at_reads ? 0 : q;
  const at::Tensor all = widen(call.ends_at_reads ? d.k_TC : d.q, begin + 2 * kv).to(dtype);
  return {call.ends_at_reads ? d.q.to(dtype) : all.narrow(1, 0, q), all.narrow(1, begin, kv), all.narrow(1, begin + kv, kv)};
}

/// x a', of which each row has the same bits whatever rows are beside it, if `steady`.
at::Tensor into_rank(const at::Tensor& x, const at::Tensor& a, bool steady) {
  const at::Tensor u = at::empty({x.size(0), a.size(0)}, x.options());
  if (!cpu::takes_product(u, x, a.t())) return linear(x, a, {}, steady);
  cpu::product(u, x, a.t(), 1, false);
  return u;
}

/// out += scale * u b'
void add_scaled(at::Tensor out, const at::Tensor& u, const at::Tensor& b, double scale, bool steady) {
  if (cpu::takes_product(out, u, b.t())) return cpu::product(out, u, b.t(), static_cast<float>(scale), true);
  const at::Tensor all = steady_rows(out, steady);
  all.addmm_(steady_rows(u, steady), b.t(), 1, scale);
  if (!all.is_same(out)) out.copy_(all.narrow(0, 0, out.size(0)));
}

/// The rows of `x` that leave the layer. @param x  one row for each token of an expert
at::Tensor leaving(const at::Tensor& x, const AdapterRows& rows, const LayerCall& call) {
  return call.ends_at_reads ? x.index_select(0, own_reads(rows, call.batch)) : x;
}

/// An expert's rows among those that leave the layer.
at::Tensor own_leaving(const at::Tensor& q, const AdapterRows& rows, const LayerCall& call) {
  return call.ends_at_reads ? q.narrow(0, rows.first_read, rows.reads) : q.narrow(0, rows.first_row, rows.rows);
}

void add_adapter(const AdapterRows& rows, const LayerCall& call, const at::Tensor& n_TD, bool steady, const Qkv& out) {
  RECORD_FUNCTION("nn::lora", {});
  const LoraLayer& lora = rows.adapter->layers[call.layer];
  const std::int64_t r = rows.adapter->lora().rank;
  const double scale = rows.adapter->lora().scale();
  const at::Tensor q = own_leaving(out.q, rows, call), v = out.v_TC.narrow(0, rows.first_row, rows.rows);
  if (by_panels(n_TD, steady) && rows.dropout_key == 0 && cpu::takes(q) && cpu::takes(v)) {
    const at::Tensor own = n_TD.narrow(0, rows.first_row, rows.rows);
    cpu::add_low_rank(leaving(own, rows, call), lora.a_qv.narrow(0, 0, r), lora.b_q, scale, q);
    cpu::add_low_rank(own, lora.a_qv.narrow(0, r, r), lora.b_v, scale, v);
    return;
  }
  const at::Tensor u = into_rank(adapter_input(rows, call.layer, n_TD), lora.a_qv, steady);
  add_scaled(q, leaving(u.narrow(1, 0, r), rows, call), lora.b_q, scale, steady);
  add_scaled(v, u.narrow(1, r, r), lora.b_v, scale, steady);
}

/// Adds the gradients of one adapter, and its share of the gradient in n to `dn_TD` if that is defined.
void adapter_backward(const AdapterRows& rows, const LayerCall& call, const at::Tensor& n_TD, const Qkv& d, LoraAdapter* sink,
                      const at::Tensor& dn_TD) {
  RECORD_FUNCTION("nn::lora_backward", {});
  const LoraLayer& lora = rows.adapter->layers[call.layer];
  const std::int64_t r = rows.adapter->lora().rank;
  const double scale = rows.adapter->lora().scale();
  const at::Tensor dq = own_leaving(d.q, rows, call);
  const at::Tensor dv = d.v_TC.narrow(0, rows.first_row, rows.rows);
  at::Tensor g = at::empty({rows.rows, 2 * r}, n_TD.options());
  at::Tensor g_q = g.narrow(1, 0, r), g_v = g.narrow(1, r, r);
  if (call.ends_at_reads) {
    g_q.zero_();
    const at::Tensor read = at::empty({dq.size(0), r}, g.options());
    thin_product(read, dq, lora.b_q, scale);
    g_q.index_copy_(0, own_reads(rows, call.batch), read);
  } else {
    thin_product(g_q, dq, lora.b_q, scale);
  }
  thin_product(g_v, dv, lora.b_v, scale);
  if (sink != nullptr) {
    const at::Tensor input = adapter_input(rows, call.layer, n_TD);
    const at::Tensor u = into_rank(input, lora.a_qv, false);
    LoraLayer& into = sink->layers[call.layer];
    add_thin_product(into.a_qv, g.t(), input);
    add_thin_product(into.b_q, dq.t(), leaving(u.narrow(1, 0, r), rows, call), scale);
    add_thin_product(into.b_v, dv.t(), u.narrow(1, r, r), scale);
  }
  if (!dn_TD.defined()) return;
  at::Tensor own = dn_TD.narrow(0, rows.first_row, rows.rows);
  const double p = rows.adapter->lora().dropout;
  if (rows.dropout_key == 0 || p <= 0) {
    add_thin_product(own, g, lora.a_qv);
  } else {
    const at::Tensor share = at::empty({g.size(0), lora.a_qv.size(1)}, g.options());
    thin_product(share, g, lora.a_qv, 1);
    add_dropout(own, share, p, mix64(rows.dropout_key + call.layer), 0);
  }
}

}  // namespace

at::Tensor steady_rows(const at::Tensor& x, bool steady) {
  if (!steady || !x.is_cpu() || x.size(0) >= kSteadyRows) return x;
  at::Tensor padded = at::zeros({kSteadyRows, x.size(1)}, x.options());
  padded.narrow(0, 0, x.size(0)).copy_(x);
  return padded;
}

at::Tensor times(const at::Tensor& x, const at::Tensor& w) {
  const at::Tensor y = own_product(x, w);
  return y.defined() ? y : at::mm(x, w);
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b, bool steady) {
  if (at::Tensor y = own_product(x, w.t(), b); y.defined()) return y;
  const at::Tensor rows = steady_rows(x, steady);
  const at::Tensor y = b.defined() ? at::addmm(b, rows, w.t()) : at::mm(rows, w.t());
  return y.narrow(0, 0, x.size(0));
}

at::Tensor layer_linear(const at::Tensor& x, const Linear& by, bool steady, const at::Tensor& residual) {
  const at::Tensor &w = by.w, &b = by.b;
  if (by.in_int8 != nullptr) return by.in_int8->product(Int8Rows(x), b, residual);
  if (by_panels(x, steady)) {
    at::Tensor out = at::empty({x.size(0), w.size(0)}, x.options());
    multiply_by_panels(x, w, b, residual, out);
    return out;
  }
  if (!residual.defined()) return linear(x, w, b, steady);
  at::Tensor y = own_product(x, w.t(), residual);
  if (!y.defined()) y = at::addmm(steady_rows(residual, steady), steady_rows(x, steady), w.t()).narrow(0, 0, x.size(0));
  return b.defined() ? y.add_(b) : y;
}

Gated gated_linear(const at::Tensor& x, const Linear& by, bool steady) {
  if (by.in_int8 == nullptr && !by_panels(x, steady) && multiplies(x)) {
    const at::Tensor w = by.w.t();
    const std::int64_t f = w.size(1) / 2;
    const Gated y{at::empty({x.size(0), 2 * f}, x.options()), at::empty({x.size(0), f}, x.options())};
    if (cpu::takes_swiglu(f) && cpu::takes_product(y.up, x, w)) {
      RECORD_FUNCTION("nn::product", {});
      cpu::product_and_swiglu(y.up, y.act, x, w, by.b);
      return y;
    }
  }
  const at::Tensor up = layer_linear(x, by, steady);
  return {up, swiglu(up)};
}

at::Tensor gated_linear_backward(const at::Tensor& dy, const at::Tensor& w, const at::Tensor& up, at::Tensor* act) {
  const std::int64_t f = w.size(1);
  if (act == nullptr && multiplies(dy) && cpu::takes(up) && up.is_contiguous() && cpu::takes_swiglu(f)) {
    const at::Tensor d = at::empty_like(up);
    if (cpu::takes_product(d.narrow(1, 0, f), dy, w)) {
      RECORD_FUNCTION("nn::product", {});
      cpu::product_and_swiglu_backward(d, dy, w, up);
      return d;
    }
  }
  return swiglu_backward(times(dy, w), up, act);
}

void add_linear_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor& dw, at::Tensor& db) {
  if (dw.defined()) add_product(dw, dy.t(), x);
  if (db.defined()) db.add_(dy.sum(at::IntArrayRef{0}, false, at::kFloat));
}

Qkv qkv_buffer(const LayerCall& call, std::int64_t rows, const at::TensorOptions& options) {
  const std::int64_t q = call.spec.q_width(), kv = call.spec.kv_width(), begin = call.ends_at_reads ? 0 : q;
  const at::Tensor all = at::empty({rows, begin + 2 * kv}, options);
  return {call.ends_at_reads ? at::empty({call.batch.read_rows_R.size(0), q}, options) : all.narrow(1, 0, q),
          all.narrow(1, begin, kv), all.narrow(1, begin + kv, kv)};
}

Qkv empty_qkv(const LayerCall& call, std::int64_t rows, const at::TensorOptions& options) {
  Qkv d = qkv_buffer(call, rows, options.dtype(at::kFloat));
  widen(d.k_TC, 2 * call.spec.kv_width()).zero_();
  return d;
}

Qkv project_qkv(const LayerCall& call, const at::Tensor& n_TD, bool steady) {
  const LayerWeights& w = call.weights;
  const std::int64_t q = call.spec.q_width(), kv = call.spec.kv_width();
  const auto part = [](const at::Tensor& x, std::int64_t begin, std::int64_t count) {
    return x.defined() ? x.narrow(0, begin, count) : x;
  };
  Qkv out;
  if (const Int8Layer* in_int8 = call.in_int8) {
    out = qkv_buffer(call, n_TD.size(0), n_TD.options());
    const Int8Rows rows(n_TD);
    in_int8->q.multiply(call.ends_at_reads ? Int8Rows(call.leaving(n_TD)) : rows, part(w.qkv_b, 0, q), {}, out.q);
    in_int8->kv.multiply(rows, part(w.qkv_b, q, 2 * kv), {}, widen(out.k_TC, 2 * kv));
  } else if (by_panels(n_TD, steady)) {
    out = qkv_buffer(call, n_TD.size(0), n_TD.options());
    multiply_by_panels(call.leaving(n_TD), part(w.qkv_w, 0, q), part(w.qkv_b, 0, q), {}, out.q);
    multiply_by_panels(n_TD, part(w.qkv_w, q, 2 * kv), part(w.qkv_b, q, 2 * kv), {}, widen(out.k_TC, 2 * kv));
  } else if (call.ends_at_reads) {
    const at::Tensor both = linear(n_TD, part(w.qkv_w, q, 2 * kv), part(w.qkv_b, q, 2 * kv), steady);
    out = {linear(call.leaving(n_TD), part(w.qkv_w, 0, q), part(w.qkv_b, 0, q), steady), both.narrow(1, 0, kv),
           both.narrow(1, kv, kv)};
  } else {
    const at::Tensor all = linear(n_TD, w.qkv_w, w.qkv_b, steady);
    out = {all.narrow(1, 0, q), all.narrow(1, q, kv), all.narrow(1, q + kv, kv)};
  }
  for (const AdapterRows& rows : call.batch.adapters) {
    if (rows.adapter != nullptr && rows.adapter->adapts(call.layer)) add_adapter(rows, call, n_TD, steady, out);
  }
  return out;
}

at::Tensor project_qkv_backward(const LayerCall& call, const at::Tensor& n_TD, const Qkv& d_qkv,
                                const LayerGradients& gradients) {
  const LayerWeights& w = call.weights;
  const std::span<const AdapterRows> adapters = call.batch.adapters;
  const std::int64_t q = call.spec.q_width(), kv = call.spec.kv_width();
  const Qkv d = in_dtype(call, d_qkv, n_TD.scalar_type());
  const at::Tensor d_all = call.ends_at_reads ? widen(d.k_TC, 2 * kv) : widen(d.q, q + 2 * kv);
  if (gradients.weights != nullptr) {
    at::Tensor &dw = gradients.weights->qkv_w, &db = gradients.weights->qkv_b;
    if (call.ends_at_reads) {
      at::Tensor dw_q = dw.narrow(0, 0, q), dw_kv = dw.narrow(0, q, 2 * kv);
      at::Tensor db_q = db.defined() ? db.narrow(0, 0, q) : db, db_kv = db.defined() ? db.narrow(0, q, 2 * kv) : db;
      add_linear_gradient(d.q, call.leaving(n_TD), dw_q, db_q);
      add_linear_gradient(d_all, n_TD, dw_kv, db_kv);
    } else {
      add_linear_gradient(d_all, n_TD, dw, db);
    }
  }
  at::Tensor dn_TD;
  if (gradients.input) {
    if (call.ends_at_reads) {
      dn_TD = times(d_all, w.qkv_w.narrow(0, q, 2 * kv));
      dn_TD.index_add_(0, call.batch.read_rows_R, times(d.q, w.qkv_w.narrow(0, 0, q)));
    } else {
      dn_TD = times(d_all, w.qkv_w);
    }
  }
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    LoraAdapter* sink = gradients.adapters.empty() ? nullptr : gradients.adapters[i];
    const bool adapted = adapters[i].adapter != nullptr && adapters[i].adapter->adapts(call.layer);
    if (adapted && (sink != nullptr || gradients.input)) adapter_backward(adapters[i], call, n_TD, d, sink, dn_TD);
  }
  return dn_TD;
}

}  // namespace dmoerm::nn
