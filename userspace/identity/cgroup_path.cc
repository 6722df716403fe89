#include "userspace/identity/cgroup_path.h"

#include <algorithm>
#include <array>
#include <optional>

namespace penstock::identity {
namespace {

using namespace std::string_view_literals;

bool is_hex(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool is_container_id(std::string_view s) { return s.size() == 64 && is_hex(s); }

// Prefixes of scopes that hold one container: <prefix><id>.scope
struct Scope {
  std::string_view prefix;
  std::string_view runtime;
};
constexpr std::array kScopes{Scope{"cri-containerd-", "containerd"},
                             Scope{"crio-", "cri-o"},
                             Scope{"docker-", "docker"},
                             Scope{"libpod-", "podman"},
                             Scope{"nerdctl-", "containerd"},
                             Scope{"containerd-", "containerd"}};

// A pod's uid out of "kubepods-burstable-pod<uid>.slice" (dashes as underscores) or "pod<uid>".
std::optional<std::string> pod_uid(std::string_view component, bool below_kubepods) {
  std::string_view rest;
  if (component.ends_with(".slice")) {
    component.remove_suffix(".slice"sv.size());
    if (component.find("kubepods") == std::string_view::npos) return std::nullopt;
    const std::size_t at = component.rfind("-pod");
    if (at == std::string_view::npos) return std::nullopt;
    rest = component.substr(at + 4);
  } else {
    if (!below_kubepods || !component.starts_with("pod")) return std::nullopt;
    rest = component.substr(3);
  }
  std::string uid(rest);
  std::replace(uid.begin(), uid.end(), '_', '-');
  std::string digits = uid;
  std::erase(digits, '-');
  if (digits.size() != 32 || !is_hex(digits)) return std::nullopt;
  return uid;
}

struct Container {
  std::string_view id;
  std::string_view runtime;
};

std::optional<Container> container(std::string_view component, std::string_view parent) {
  // containerd with a systemd-style path under cgroupfs: "kubepods-…-pod<uid>.slice:cri-containerd:<id>"
  if (const std::size_t colon = component.rfind(':'); colon != std::string_view::npos) {
    const std::string_view id = component.substr(colon + 1);
    if (is_container_id(id))
      return Container{id, component.find(":crio:") != std::string_view::npos ? "cri-o"sv : "containerd"sv};
  }
  if (component.ends_with(".scope")) {
    std::string_view name = component.substr(0, component.size() - ".scope"sv.size());
    for (const Scope& s : kScopes)
      if (name.starts_with(s.prefix) && is_container_id(name.substr(s.prefix.size())))
        return Container{name.substr(s.prefix.size()), s.runtime};
    if (name.starts_with("machine-")) return Container{name.substr("machine-"sv.size()), "nspawn"};
    return std::nullopt;
  }
  if (component.starts_with("lxc.payload.")) return Container{component.substr("lxc.payload."sv.size()), "lxc"};
  if (component.starts_with("crio-") && is_container_id(component.substr(5)))
    return Container{component.substr(5), "cri-o"};
  if (component.starts_with("libpod-") && is_container_id(component.substr(7)))
    return Container{component.substr(7), "podman"};
  if (is_container_id(component)) return Container{component, parent == "docker" ? "docker"sv : ""sv};
  return std::nullopt;
}

}  // namespace

CgroupFacts parse_cgroup_path(std::string_view path) {
  CgroupFacts out;
  std::string_view parent;
  bool below_kubepods = false;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view component = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (component.empty()) continue;
    if (component == "kubepods" || component.starts_with("kubepods")) below_kubepods = true;
    std::string_view slice = component.substr(0, component.find(':'));
    if (auto uid = pod_uid(slice, below_kubepods)) {
      // A node that is itself a container (kind, k3d) holds pods: the container found above was the node.
      out.pod_uid = std::move(*uid);
      out.container_id.clear();
      out.runtime.clear();
      out.unit.clear();
      out.user_unit_of.clear();
    }
    if (const auto c = container(component, parent)) {
      const bool in_pod = !out.pod_uid.empty();
      if (out.container_id.empty()) {
        out.container_id = c->id;
        out.runtime = c->runtime;
      }
      if (in_pod) return out;
      out.unit.clear();
    } else if (out.container_id.empty() && out.pod_uid.empty() &&
               (component.ends_with(".service") || component.ends_with(".scope"))) {
      if (component.starts_with("user@") && component.ends_with(".service"))
        out.user_unit_of = component.substr(5, component.size() - 5 - ".service"sv.size());
      out.unit = component;
    }
    parent = component;
  }
  return out;
}

}  // namespace penstock::identity
