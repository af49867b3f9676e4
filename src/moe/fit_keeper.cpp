#include "moe/fit_keeper.h"

namespace dmoerm::moe {
namespace {

thread_local PartKeeper* keeper_of_fits = nullptr;
thread_local int number_of_fit = 0;

}  // namespace

KeptFits::KeptFits(PartKeeper& keeper) { keeper_of_fits = &keeper, number_of_fit = 0; }

KeptFits::~KeptFits() { keeper_of_fits = nullptr; }

std::pair<PartKeeper*, std::string> KeptFits::next() {
  if (keeper_of_fits == nullptr) return {nullptr, ""};
  return {keeper_of_fits, "fit-" + std::to_string(number_of_fit++)};
}

}  // namespace dmoerm::moe
