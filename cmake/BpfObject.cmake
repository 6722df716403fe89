# penstock_bpf(NAME SOURCES a.bpf.c b.bpf.c …)
# Each source is compiled by clang, all are linked into one object by `bpftool gen object`, and the skeleton
# ${CMAKE_BINARY_DIR}/generated/bpf/NAME.skel.h embeds it: no loose .o at run time.
find_program(PENSTOCK_CLANG NAMES clang clang-14 clang-15 clang-16 clang-17 clang-18 clang-19 REQUIRED)
find_program(PENSTOCK_BPFTOOL NAMES bpftool PATHS /usr/sbin REQUIRED)

function(penstock_bpf name)
  cmake_parse_arguments(arg "" "" "SOURCES" ${ARGN})
  set(dir ${CMAKE_BINARY_DIR}/generated/bpf)
  file(MAKE_DIRECTORY ${dir})
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/*.h)
  set(objects "")
  foreach(source IN LISTS arg_SOURCES)
    get_filename_component(stem ${source} NAME)
    set(object ${dir}/${stem}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${PENSTOCK_CLANG} --target=bpf -mcpu=v3 -D__TARGET_ARCH_x86 -g -O2 -std=gnu11
              -Wall -Wextra -Wno-unused-parameter -Wno-missing-declarations -Werror
              -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=
              -I${CMAKE_SOURCE_DIR}/bpf -I${CMAKE_SOURCE_DIR}/bpf/include
              -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
              -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
      DEPENDS ${source} ${headers} COMMENT "BPF ${source}" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(OUTPUT ${dir}/${name}.bpf.o
    COMMAND ${PENSTOCK_BPFTOOL} gen object ${dir}/${name}.bpf.o ${objects}
    DEPENDS ${objects} VERBATIM)
  add_custom_command(OUTPUT ${dir}/${name}.skel.h
    COMMAND sh -c "'${PENSTOCK_BPFTOOL}' gen skeleton '${dir}/${name}.bpf.o' name '${name}' > '${dir}/${name}.skel.h.tmp' && mv '${dir}/${name}.skel.h.tmp' '${dir}/${name}.skel.h'"
    DEPENDS ${dir}/${name}.bpf.o VERBATIM)
  add_custom_target(${name}_skeleton DEPENDS ${dir}/${name}.skel.h)
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_skeleton)
  target_include_directories(${name} SYSTEM INTERFACE ${dir})
  target_link_libraries(${name} INTERFACE PkgConfig::LIBBPF)
  set_property(TARGET ${name} PROPERTY PENSTOCK_LAYER 0)
endfunction()
