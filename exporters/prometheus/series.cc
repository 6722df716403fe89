#include "exporters/prometheus/series.h"

#include <algorithm>

namespace penstock::exporters {

std::string_view NameGuard::bound(std::string_view name, bool confirmed) {
  if (name.empty()) return name;
  const bool printable = std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!printable || name.size() > limits_.name_bytes) return kOther;
  if (in_catalog_ && in_catalog_(name)) return name;
  const std::string key(name);
  if (learnt_.contains(key) || confirmed_.contains(key)) return name;
  if (confirmed && confirmed_.size() < limits_.confirmed) {
    confirmed_.insert(key);
    return name;
  }
  if (learnt_.size() < limits_.learnt) {
    learnt_.insert(key);
    return name;
  }
  return kOther;
}

}  // namespace penstock::exporters
