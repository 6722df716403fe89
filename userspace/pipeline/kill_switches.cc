#include "userspace/pipeline/kill_switches.h"

#include <algorithm>
#include <cerrno>

#include "userspace/api/message_json.h"
#include "userspace/api/selector.h"
#include "userspace/base/atomic_file.h"

namespace penstock::pipeline {
namespace {

bool about_requests(const api::Selector& selector) {
  return selector.target_case() == api::Selector::kModel || selector.target_case() == api::Selector::kProvider;
}

// An order must be able to stay in force: nothing at all, or one request, is not a target for that.
base::Result<> standing(const api::Selector& selector) {
  if (!api::format_selector(selector).empty() && selector.target_case() != api::Selector::kExchange) return {};
  return base::Error{base::ErrorCode::kUsage, 0, "nothing to kill: the selector names no standing target",
                     "use agent=NAME, run=ID, user=NAME, model=NAME, provider=NAME, … or all"};
}

}  // namespace

base::Result<KillSwitches> KillSwitches::open(const std::string& path) {
  KillSwitches made;
  made.path_ = path;
  if (path.empty()) return made;
  auto text = base::read_small_file(path);
  if (!text) {
    if (text.error().errno_ == ENOENT) return made;
    return std::move(text).error().at("kill switches");
  }
  api::KillList list;
  auto parsed = api::from_json(*text, list);
  if (parsed) parsed = made.adopt(std::move(list));
  if (!parsed) {
    base::Error error = std::move(parsed).error();
    error.hint = "what was killed must not come alive by accident: repair the file, or remove it to release everything";
    return std::move(error).at("kill switches: " + path);
  }
  return made;
}

base::Result<> KillSwitches::adopt(api::KillList list) {
  std::vector<policy::KillSwitch> active;
  for (const api::KillSwitch& order : list.kills()) {
    PN_CHECK(standing(order.selector()));
    active.push_back(policy::KillSwitch{next_id_++, order.selector(), order.reason()});
  }
  list_ = std::move(list);
  active_ = std::move(active);
  return {};
}

base::Result<> KillSwitches::save(const api::KillList& list) const {
  if (path_.empty()) return {};
  return base::write_file_atomically(path_, api::to_json(list, api::JsonStyle::kPretty) + "\n");
}

base::Result<> KillSwitches::add(const api::KillSwitch& order) {
  const std::string text = api::format_selector(order.selector());
  PN_CHECK(standing(order.selector()));
  api::KillList next = list_;
  auto* kills = next.mutable_kills();
  kills->erase(std::remove_if(kills->begin(), kills->end(),
                              [&](const api::KillSwitch& k) { return api::format_selector(k.selector()) == text; }),
               kills->end());
  *kills->Add() = order;
  PN_CHECK(save(next));
  return adopt(std::move(next));
}

base::Result<bool> KillSwitches::remove(const api::Selector& selector) {
  const std::string text = api::format_selector(selector);
  api::KillList next = list_;
  auto* kills = next.mutable_kills();
  const int before = kills->size();
  kills->erase(std::remove_if(kills->begin(), kills->end(),
                              [&](const api::KillSwitch& k) { return api::format_selector(k.selector()) == text; }),
               kills->end());
  if (kills->size() == before) return false;
  PN_CHECK(save(next));
  PN_CHECK(adopt(std::move(next)));
  return true;
}

bool KillSwitches::stops(const model::Subject& subject) const {
  return std::any_of(active_.begin(), active_.end(), [&](const policy::KillSwitch& k) {
    return !about_requests(k.selector) && api::matches(k.selector, subject);
  });
}

bool KillSwitches::any_about_requests() const {
  return std::any_of(active_.begin(), active_.end(),
                     [](const policy::KillSwitch& k) { return about_requests(k.selector); });
}

}  // namespace penstock::pipeline
