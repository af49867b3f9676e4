// The sum of the gradients of two calls of attention, rotated back and packed, against a loop in float64.
#include "kernels/combine_gradients.cu"
#include "kernels/on_device.h"

namespace {

using namespace dmoerm;
using namespace dmoerm::test;

/// One of queries, keys, values.
struct Part {
  std::size_t rows, heads;
  bool turned;
  std::vector<Bfloat16> own, prefix;
  std::vector<float> cos, sin;
};

Part draw_part(Draw& draw, std::size_t rows, std::size_t heads, std::size_t head_dim, bool turned) {
  Part p{rows, heads, turned, draw.bfloat16s(rows * heads * head_dim), draw.bfloat16s(rows * heads * head_dim), {}, {}};
  p.cos = draw.floats(rows * head_dim / 2), p.sin = draw.floats(rows * head_dim / 2);
  return p;
}

/// Where a part goes: its first column in rows of `stride`.
struct Place {
  std::size_t first, stride;
};

void add_expected(const Part& p, const Place& to, std::size_t head_dim, bool with_prefix, std::vector<double>& want) {
  const std::size_t half = head_dim / 2;
  const auto sum = [&](std::size_t i) { return value_of(p.own[i]) + (with_prefix ? value_of(p.prefix[i]) : 0); };
  for (std::size_t t = 0; t < p.rows; ++t) {
    for (std::size_t h = 0; h < p.heads; ++h) {
      for (std::size_t i = 0; i < half; ++i) {
        const std::size_t from = (t * p.heads + h) * head_dim + i, at = t * to.stride + to.first + h * head_dim + i;
        const double a = sum(from), b = sum(from + half), c = p.turned ? p.cos[t * half + i] : 1,
                     s = p.turned ? p.sin[t * half + i] : 0;
        want[at] = a * c + b * s, want[at + half] = b * c - a * s;
      }
    }
  }
}

struct OnDevice {
  explicit OnDevice(const Part& p) : part(p), own(p.own), prefix(p.prefix), cos(p.cos), sin(p.sin) {}
  const Part& part;
  Array<Bfloat16> own, prefix;
  Array<float> cos, sin;
  [[nodiscard]] kernels::HeadGradients to(Bfloat16* out, const Place& place, bool with_prefix) const {
    return {.sum = {out + place.first, static_cast<std::int64_t>(place.stride), static_cast<int>(part.heads)},
            .own = own.get(),
            .prefix = with_prefix ? prefix.get() : nullptr,
            .turns = {part.turned ? cos.get() : nullptr, part.turned ? sin.get() : nullptr},
            .rows = static_cast<std::int64_t>(part.rows)};
  }
};

/// @param query_rows  fewer than `rows` in the last layer, where queries have a matrix of their own
void check(Draw& draw, std::size_t rows, std::size_t query_rows, std::size_t head_dim) {
  constexpr std::size_t kHeads = 6, kKeyHeads = 2;
  const std::size_t q_width = kHeads * head_dim, kv_width = kKeyHeads * head_dim;
  const Part q = draw_part(draw, query_rows, kHeads, head_dim, true), k = draw_part(draw, rows, kKeyHeads, head_dim, true),
             v = draw_part(draw, rows, kKeyHeads, head_dim, false);
  const bool together = rows == query_rows;
  const std::size_t begin = together ? q_width : 0, stride = begin + 2 * kv_width;
  const Place q_place{0, together ? stride : q_width}, k_place{begin, stride}, v_place{begin + kv_width, stride};
  const OnDevice dq(q), dk(k), dv(v);
  for (const bool with_prefix : {false, true}) {
    std::vector<double> want(rows * stride), want_q(query_rows * q_width);
    add_expected(q, q_place, head_dim, with_prefix, together ? want : want_q);
    add_expected(k, k_place, head_dim, with_prefix, want);
    add_expected(v, v_place, head_dim, with_prefix, want);
    const std::string what = "gradients of heads of " + std::to_string(head_dim) + (together ? "" : ", few queries");
    const auto got = same_in_both_orders(
        [&] {
          const Array<Bfloat16> all(want.size()), apart(want_q.size());
          Bfloat16* const out_q = together ? all.get() : apart.get();
          kernels::combine_gradients({dq.to(out_q, q_place, with_prefix), dk.to(all.get(), k_place, with_prefix),
                                      dv.to(all.get(), v_place, with_prefix)},
                                     static_cast<int>(head_dim), nullptr);
          if (!together) expect_close(apart.host(), want_q, what + " (queries)");
          return all.host();
        },
        what);
    expect_close(got, want, what);
  }
}

}  // namespace

int main() {
  return run([] {
    Draw draw;
    for (const std::size_t head_dim : {64, 128, 6}) {
      check(draw, 5, 5, head_dim);
      check(draw, 5, 2, head_dim);
    }
    check(draw, 3, 3, 512);  // more packs than threads
  });
}
