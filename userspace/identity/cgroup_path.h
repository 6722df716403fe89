// What a cgroup path says: systemd unit, Kubernetes pod, container. Pure; paths are chosen by people with rights on the
// host, but nested parts by containers, so the outermost pod and container win and nothing inside them is believed.
#pragma once

#include <string>
#include <string_view>

namespace penstock::identity {

struct CgroupFacts {
  std::string unit;          // innermost systemd service or scope outside of any container
  std::string user_unit_of;  // number of the user whose service manager runs the unit; empty for system units
  std::string pod_uid;       // as Kubernetes writes it (with dashes; static pods: 32 hex digits)
  std::string container_id;  // as the container runtime names it
  std::string runtime;       // containerd, cri-o, docker, podman, nspawn, lxc; empty when the path does not say
};

CgroupFacts parse_cgroup_path(std::string_view path);

}  // namespace penstock::identity
