#include "userspace/identity/cgroup_path.h"

#include <gtest/gtest.h>

#include <string>

namespace penstock::identity {
namespace {

const std::string kId = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const std::string kNode = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const std::string kPod = "8a1f0c3e-1b2c-4d5e-8f90-a1b2c3d4e5f6";
const std::string kPodEscaped = "8a1f0c3e_1b2c_4d5e_8f90_a1b2c3d4e5f6";
const std::string kStatic = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

struct Row {
  std::string what, path, unit, user, pod, container, runtime;
};

class CgroupPath : public testing::TestWithParam<Row> {};

TEST_P(CgroupPath, SaysWhatItHolds) {
  const Row& r = GetParam();
  const CgroupFacts f = parse_cgroup_path(r.path);
  EXPECT_EQ(f.unit, r.unit);
  EXPECT_EQ(f.user_unit_of, r.user);
  EXPECT_EQ(f.pod_uid, r.pod);
  EXPECT_EQ(f.container_id, r.container);
  EXPECT_EQ(f.runtime, r.runtime);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CgroupPath,
    testing::Values(
        Row{"root", "/", "", "", "", "", ""},
        Row{"system_service", "/system.slice/mail-agent.service", "mail-agent.service", "", "", "", ""},
        Row{"service_with_subgroup", "/system.slice/mail-agent.service/payload", "mail-agent.service", "", "", "", ""},
        Row{"template_unit", "/system.slice/system-agent.slice/agent@blue.service", "agent@blue.service", "", "", "",
            ""},
        Row{"login_session", "/user.slice/user-1000.slice/session-2.scope", "session-2.scope", "", "", "", ""},
        Row{"user_service", "/user.slice/user-1000.slice/user@1000.service/app.slice/crawler.service",
            "crawler.service", "1000", "", "", ""},
        Row{"user_terminal",
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
            "vte-spawn-1.scope", "1000", "", "", ""},
        Row{"systemd_burstable_containerd",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kPodEscaped + ".slice/cri-containerd-" +
                kId + ".scope",
            "", "", kPod, kId, "containerd"},
        Row{"systemd_guaranteed",
            "/kubepods.slice/kubepods-pod" + kPodEscaped + ".slice/cri-containerd-" + kId + ".scope", "", "", kPod, kId,
            "containerd"},
        Row{"systemd_besteffort_crio",
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + kPodEscaped + ".slice/crio-" + kId +
                ".scope",
            "", "", kPod, kId, "cri-o"},
        Row{"crio_subgroup", "/kubepods.slice/kubepods-pod" + kPodEscaped + ".slice/crio-" + kId + ".scope/container",
            "", "", kPod, kId, "cri-o"},
        Row{"crio_monitor", "/kubepods.slice/kubepods-pod" + kPodEscaped + ".slice/crio-conmon-" + kId + ".scope", "",
            "", kPod, "", ""},
        Row{"systemd_dockershim",
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kPodEscaped + ".slice/docker-" + kId +
                ".scope",
            "", "", kPod, kId, "docker"},
        Row{"cgroupfs_burstable", "/kubepods/burstable/pod" + kPod + "/" + kId, "", "", kPod, kId, ""},
        Row{"cgroupfs_guaranteed", "/kubepods/pod" + kPod + "/" + kId, "", "", kPod, kId, ""},
        Row{"cgroupfs_crio", "/kubepods/besteffort/pod" + kPod + "/crio-" + kId, "", "", kPod, kId, "cri-o"},
        Row{"static_pod", "/kubepods/burstable/pod" + kStatic + "/" + kId, "", "", kStatic, kId, ""},
        Row{"containerd_systemd_path_on_cgroupfs",
            "/system.slice/containerd.service/kubepods-burstable-pod" + kPodEscaped + ".slice:cri-containerd:" + kId,
            "", "", kPod, kId, "containerd"},
        Row{"pod_itself", "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + kPodEscaped + ".slice",
            "", "", kPod, "", ""},
        Row{"kind_systemd",
            "/docker/" + kNode +
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
                "kubelet-kubepods-burstable-pod" +
                kPodEscaped + ".slice/cri-containerd-" + kId + ".scope",
            "", "", kPod, kId, "containerd"},
        Row{"kind_scope_node",
            "/system.slice/docker-" + kNode + ".scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod" +
                kPodEscaped + ".slice/cri-containerd-" + kId + ".scope",
            "", "", kPod, kId, "containerd"},
        Row{"kind_cgroupfs", "/docker/" + kNode + "/kubelet/kubepods/burstable/pod" + kPod + "/" + kId, "", "", kPod,
            kId, ""},
        Row{"k3s", "/kubepods/besteffort/pod" + kPod + "/" + kId, "", "", kPod, kId, ""},
        Row{"k3s_rootless",
            "/user.slice/user-1000.slice/user@1000.service/k3s-rootless.service/kubepods/burstable/pod" + kPod + "/" +
                kId,
            "", "", kPod, kId, ""},
        Row{"docker_cgroupfs", "/docker/" + kId, "", "", "", kId, "docker"},
        Row{"docker_systemd", "/system.slice/docker-" + kId + ".scope", "", "", "", kId, "docker"},
        Row{"docker_with_systemd_inside", "/system.slice/docker-" + kId + ".scope/system.slice/inner.service", "", "",
            "", kId, "docker"},
        Row{"podman_root", "/machine.slice/libpod-" + kId + ".scope/container", "", "", "", kId, "podman"},
        Row{"podman_rootless",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" + kId + ".scope/container", "", "1000",
            "", kId, "podman"},
        Row{"podman_monitor", "/machine.slice/libpod-conmon-" + kId + ".scope", "libpod-conmon-" + kId + ".scope", "",
            "", "", ""},
        Row{"nerdctl", "/system.slice/nerdctl-" + kId + ".scope", "", "", "", kId, "containerd"},
        Row{"nspawn", "/machine.slice/machine-web.scope/payload/init.scope", "", "", "", "web", "nspawn"},
        Row{"lxc", "/lxc.payload.web/system.slice/x.service", "", "", "", "web", "lxc"},
        Row{"not_a_pod", "/system.slice/podman.service", "podman.service", "", "", "", ""},
        Row{"pod_outside_kubepods", "/pod" + kPod + "/" + kId, "", "", "", kId, ""},
        Row{"container_claims_a_pod", "/system.slice/docker-" + kId + ".scope/podxyz", "", "", "", kId, "docker"},
        Row{"inside_of_a_pod_nothing_counts", "/kubepods/pod" + kPod + "/" + kId + "/docker/" + kNode, "", "", kPod,
            kId, ""},
        Row{"short_hex", "/docker/0123abcd", "", "", "", "", ""}),
    [](const auto& row) { return row.param.what; });

}  // namespace
}  // namespace penstock::identity
