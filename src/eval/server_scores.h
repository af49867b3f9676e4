// A reward server as a model: it is asked over HTTP about every item.
#pragma once
#include "eval/model_scores.h"
#include "eval/model_spec.h"

namespace dmoerm::eval {

/// Check what is known of a server before it is asked: address, protocol, template. @throws as server_scores() for these
void check_server(const ModelSpec& spec, const ScoringOptions& options);

/// Ask the server of a specification server:URL for the raw scores of all responses. ModelScores::server says what the server
/// was, and ModelScores::doubt, also logged as a warning, that it did not find the messages in templated texts; the tokens are
/// those that it counts.
/// @throws as parse_server(), ServerTexts and ask_server(); ConfigError if the protocol takes templated texts and no template is
/// named; DataError naming the item if a reply has not one finite number for each response, or another model replies than before
ModelScores server_scores(const ModelSpec& spec, const Data& data, const ScoringOptions& options, const OnScored& on_scored);

}  // namespace dmoerm::eval
