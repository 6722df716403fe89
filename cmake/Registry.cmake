# penstock_registry(NAME LAYER n ROOT dir HEADER h TYPE T PREFIX p)
# Every sub-folder of ROOT that holds a CMakeLists.txt is a plugin: it is added to the build and must define the library
# ${PREFIX}_<folder> and, in C++, `extern const T k_<folder>` (a folder name has the characters a-z 0-9 _). An explicit
# array in folder order is generated: no self-registering statics, which linkers drop from archives.
#   namespace: that of the plugin root with "/" as "::" below penstock, e.g. parsers/providers -> penstock::parsers::providers
#   function:  std::span<const T* const> registry();
function(penstock_registry name)
  cmake_parse_arguments(arg "" "LAYER;ROOT;HEADER;TYPE;PREFIX;NAMESPACE" "USES" ${ARGN})
  file(GLOB folders CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/${arg_ROOT} ${CMAKE_SOURCE_DIR}/${arg_ROOT}/*/CMakeLists.txt)
  list(FILTER folders EXCLUDE REGEX "^core/")  # the contract, where it lives beside its plugins
  list(SORT folders)
  set(externs "")
  set(entries "")
  set(libraries "")
  foreach(entry IN LISTS folders)
    get_filename_component(folder ${entry} DIRECTORY)
    add_subdirectory(${CMAKE_SOURCE_DIR}/${arg_ROOT}/${folder} ${CMAKE_BINARY_DIR}/${arg_ROOT}/${folder})
    string(APPEND externs "extern const ${arg_TYPE} k_${folder};\n")
    string(APPEND entries "    &k_${folder},\n")
    list(APPEND libraries ${arg_PREFIX}_${folder})
  endforeach()
  set(out ${CMAKE_BINARY_DIR}/generated/${arg_ROOT}/registry.cc)
  file(CONFIGURE OUTPUT ${out} @ONLY CONTENT
"// Generated from the folders of ${arg_ROOT}/ by cmake/Registry.cmake.
#include \"${arg_HEADER}\"
#include <array>
namespace ${arg_NAMESPACE} {
${externs}
std::span<const ${arg_TYPE}* const> registry() {
  static constexpr auto kEntries = std::to_array<const ${arg_TYPE}*>({
${entries}  });
  return kEntries;
}
}  // namespace ${arg_NAMESPACE}
")
  penstock_library(${name} LAYER ${arg_LAYER} SOURCES ${out} USES ${arg_USES} ${libraries})
endfunction()
