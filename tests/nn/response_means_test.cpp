// Means over the rows of responses: the two ways to compute them and their gradients agree.
#include "nn/response_means.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace dmoerm::nn {
namespace {

using Ids = std::vector<std::int32_t>;

/// Groups by the tokens of their prefix, those of the prompt, and those of their responses after the prefix.
struct Shape {
  std::size_t prefix;
  std::int64_t prompt;
  std::vector<std::size_t> responses;
};

data::PackedBatch batch_of(const std::vector<Shape>& shapes, data::PackingRule rule) {
  data::PackedBatch batch;
  for (const Shape& shape : shapes) {
    const Ids ids(shape.prefix, 5);
    std::vector<Ids> responses;
    for (const std::size_t tokens : shape.responses) responses.emplace_back(tokens, 6);
    data::TokenGroup group;
    group.prefix = ids, group.prompt_tokens = shape.prompt;
    group.responses.assign(responses.begin(), responses.end());
    std::vector<std::int32_t> which;
    for (std::size_t r = 0; r < responses.size(); ++r) which.push_back(static_cast<std::int32_t>(r));
    data::append_group(batch, group, which, rule);
  }
  return batch;
}

ResponseRows rows_of(const data::PackedBatch& batch) {
  IntegerUpload upload;
  ResponseRowsUpload rows;
  upload.add(batch.ids);  // so that the lists do not begin with the first
  rows.add(upload, batch.responses);
  upload.send(at::kCPU);
  return rows.sent(upload);
}

// A prefix that is the prompt, one that holds first tokens of the responses too, one that is shorter than the prompt, none, and a
// text that is all prompt.
const std::vector<Shape> kShapes = {{7, 7, {3, 1, 9}}, {8, 5, {2, 4}}, {3, 6, {5, 30}}, {0, 4, {12}}, {6, 9, {3}}};

TEST(ResponseMeans, AreTheSameEitherWay) {
  for (const data::PackingRule rule : {data::PackingRule::causal, data::PackingRule::bidirectional}) {
    const data::PackedBatch batch = batch_of(kShapes, rule);
    const ResponseRows rows = rows_of(batch);
    at::manual_seed(3);
    const at::Tensor states_TD = at::randn({batch.tokens(), 11}), grad_RD = at::randn({std::ssize(batch.responses), 11});
    const at::Tensor expected_RD = cpu::response_means(states_TD, batch.responses);
    EXPECT_TRUE(at::allclose(generic::response_means(states_TD, rows), expected_RD, 1e-5, 1e-6));
    const at::Tensor expected_TD = cpu::response_means_backward(grad_RD, batch.responses, batch.tokens()),
                     found_TD = generic::response_means_backward(grad_RD, rows, batch.tokens());
    EXPECT_TRUE(at::allclose(found_TD, expected_TD, 1e-5, 1e-6));
    EXPECT_NEAR((found_TD * states_TD).sum().item<double>(), (grad_RD * expected_RD).sum().item<double>(), 1e-4)
        << "the gradient of a linear map is its transpose";
  }
}

TEST(ResponseMeans, ReadTheResponsesTokensOnly) {
  const data::PackedBatch batch = batch_of({{4, 2, {3, 2}}}, data::PackingRule::causal);
  const at::Tensor states_TD = at::arange(9, at::kFloat).unsqueeze(1);  // the prompt is rows 0 and 1
  const at::Tensor expected = at::tensor({(2 + 3 + 4 + 5 + 6) / 5.0F, (2 + 3 + 7 + 8) / 4.0F});
  EXPECT_TRUE(generic::response_means(states_TD, rows_of(batch)).squeeze(1).equal(expected));
  EXPECT_TRUE(cpu::response_means(states_TD, batch.responses).squeeze(1).equal(expected));
}

TEST(MeansOfRows, AreThoseOfConsecutiveRows) {
  const at::Tensor rows_MD = at::arange(12, at::kFloat).view({6, 2});
  const at::Tensor means = means_of_rows(rows_MD, at::tensor({0, 1, 4, 6}, at::kInt));
  EXPECT_TRUE(means.equal(at::stack({rows_MD[0], rows_MD.narrow(0, 1, 3).mean(0), rows_MD.narrow(0, 4, 2).mean(0)})));
}

}  // namespace
}  // namespace dmoerm::nn
