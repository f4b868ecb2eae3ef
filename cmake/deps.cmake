# The libraries ckptfs stands on; scripts/setup installs them.

include(CheckCXXSymbolExists)
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(GTest REQUIRED)

# What scripts/setup unpacked on its own comes before the system's.
set(ENV{PKG_CONFIG_PATH} "${CKPTFS_DEPS_DIR}/lib/pkgconfig:$ENV{PKG_CONFIG_PATH}")
pkg_check_modules(fuse3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
pkg_check_modules(lmdb REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(cap REQUIRED IMPORTED_TARGET libcap)
# Under two names, as CMake remembers what it has found, and scripts/setup may put one there later.
if(EXISTS ${CKPTFS_DEPS_DIR}/lib/pkgconfig/libsodium.pc)
  set(sodium private_sodium)
  set(CMAKE_INSTALL_RPATH ${CKPTFS_DEPS_DIR}/lib)
else()
  set(sodium system_sodium)
endif()
pkg_check_modules(${sodium} REQUIRED IMPORTED_TARGET libsodium>=1.0.18)
pkg_check_modules(blake3 IMPORTED_TARGET libblake3)

# libsodium and, where it is there, libblake3, with what they can do:
#   CKPTFS_HAVE_AEGIS=1    libsodium has AEGIS-256 (from 1.0.19 on)
#   CKPTFS_HAVE_BLAKE3=1   libblake3 is there
add_library(ckptfs_crypto_deps INTERFACE)
target_link_libraries(ckptfs_crypto_deps INTERFACE PkgConfig::${sodium})
set(CMAKE_REQUIRED_LIBRARIES PkgConfig::${sodium})
set(has_aegis CKPTFS_AEGIS_IN_${sodium}_${${sodium}_VERSION})
check_cxx_symbol_exists(crypto_aead_aegis256_encrypt sodium.h ${has_aegis})
unset(CMAKE_REQUIRED_LIBRARIES)
if(${has_aegis})
  target_compile_definitions(ckptfs_crypto_deps INTERFACE CKPTFS_HAVE_AEGIS=1)
endif()
if(blake3_FOUND)
  target_link_libraries(ckptfs_crypto_deps INTERFACE PkgConfig::blake3)
  target_compile_definitions(ckptfs_crypto_deps INTERFACE CKPTFS_HAVE_BLAKE3=1)
endif()
if(NOT ${has_aegis} OR NOT blake3_FOUND)
  message(WARNING "No libsodium >= 1.0.19 or no libblake3: the cipher suite aegis256-blake3 is "
    "left out. scripts/setup puts both in ${CKPTFS_DEPS_DIR}.")
endif()
