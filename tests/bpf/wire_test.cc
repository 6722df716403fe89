// The boundary, proved: sizes and offsets of every event as the BPF compiler laid them out (BTF of the embedded object)
// equal those of the C++ compiler.
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string>

#include "bpf/include/penstock/wire.h"
#include "penstock_bpf.skel.h"

namespace penstock {
namespace {

struct SkeletonDeleter {
  void operator()(penstock_bpf* s) const { penstock_bpf__destroy(s); }
};

class Wire : public testing::Test {
 protected:
  std::unique_ptr<penstock_bpf, SkeletonDeleter> skeleton_{penstock_bpf__open()};
  const btf* types() const { return bpf_object__btf(skeleton_->obj); }
  const btf_type* find(const char* name) const {
    const int id = btf__find_by_name_kind(types(), name, BTF_KIND_STRUCT);
    return id < 0 ? nullptr : btf__type_by_id(types(), static_cast<__u32>(id));
  }
  long offset_of(const char* type_name, const char* member) const {
    const btf_type* type = find(type_name);
    if (type == nullptr) return -1;
    const btf_member* m = btf_members(type);
    for (__u32 i = 0; i < btf_vlen(type); ++i, ++m)
      if (std::strcmp(btf__name_by_offset(types(), m->name_off), member) == 0)
        return btf_member_bit_offset(type, i) / 8;
    return -1;
  }
};

TEST_F(Wire, EventsAreLaidOutAlike) {
#define PN_X(name, number, type)              \
  ASSERT_NE(find(#type), nullptr) << #type;   \
  EXPECT_EQ(find(#type)->size, sizeof(type)); \
  EXPECT_EQ(offset_of(#type, "hdr"), 0) << #type;
  PN_EVENTS(PN_X)
#undef PN_X
}

TEST_F(Wire, OffsetsThatUserSpaceRelies) {
#define PN_OFFSET(type, member) \
  EXPECT_EQ(offset_of(#type, #member), static_cast<long>(offsetof(type, member))) << #type "." #member
  PN_OFFSET(pn_ev_data, pos);
  PN_OFFSET(pn_ev_data, len);
  PN_OFFSET(pn_ev_data, direction);
  PN_OFFSET(pn_ev_bind, remote_addr);
  PN_OFFSET(pn_ev_bind, joined);
  PN_OFFSET(pn_ev_gate, deadline_boot_ns);
  PN_OFFSET(pn_ev_gate, what);
  PN_OFFSET(pn_gate_val, holds);
  PN_OFFSET(pn_gate_val, hold);
  PN_OFFSET(pn_scope_val, lease_requests);
  PN_OFFSET(pn_ctl_val, epoch);
  PN_OFFSET(pn_conn_val, remote_port);
#undef PN_OFFSET
}

}  // namespace
}  // namespace penstock
