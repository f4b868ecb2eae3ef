# How our own code is compiled. The flags hang on the target ckptfs_flags, which every library of
# ours passes on; the dependencies' headers are system headers and exempt from the warnings.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()

include(CheckPIESupported)
check_pie_supported()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# missing-field-initializers: g++ warns even of designated initializers, which are meant to be
# partial.
set(ckptfs_c_warnings -Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers)
set(ckptfs_warnings ${ckptfs_c_warnings} -Wnon-virtual-dtor -Woverloaded-virtual)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # restrict: a known false alarm of GCC 12 on std::string (GCC bug 105651).
  list(APPEND ckptfs_warnings -Wno-restrict)
  if(CKPTFS_SANITIZE)
    # The sanitizers' own code confuses it.
    list(APPEND ckptfs_warnings -Wno-maybe-uninitialized)
  endif()
endif()
if(CKPTFS_WERROR AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # What the optimiser believes of inlined standard containers differs from GCC to GCC, and is
  # wrong often: seen, but no reason to fail.
  list(APPEND ckptfs_warnings
    -Wno-error=array-bounds -Wno-error=stringop-overflow -Wno-error=stringop-overread)
endif()
if(CKPTFS_WERROR)
  list(APPEND ckptfs_c_warnings -Werror)
  list(APPEND ckptfs_warnings -Werror)
endif()

add_library(ckptfs_flags INTERFACE)
target_compile_options(ckptfs_flags INTERFACE
  ${ckptfs_warnings} -fno-omit-frame-pointer -fstack-protector-strong)
target_compile_definitions(ckptfs_flags INTERFACE
  _GNU_SOURCE _FILE_OFFSET_BITS=64 _GLIBCXX_ASSERTIONS CKPTFS_VERSION="${PROJECT_VERSION}")
target_link_options(ckptfs_flags INTERFACE -Wl,-z,relro,-z,now)
if(CKPTFS_SANITIZE)
  target_compile_options(ckptfs_flags INTERFACE
    -fsanitize=${CKPTFS_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(ckptfs_flags INTERFACE -fsanitize=${CKPTFS_SANITIZE})
elseif(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_options(ckptfs_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
if(CKPTFS_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "CKPTFS_FUZZ needs clang: use the preset 'fuzz'")
  endif()
  target_compile_options(ckptfs_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
