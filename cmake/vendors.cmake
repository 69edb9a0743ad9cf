# The libraries a room may use beyond the standard one. A vendor's headers stay in the rooms named here
# (dev/tidy.py holds the same table for includes).
#
# HADAL_STATIC: `hadal` is one file that runs where it is copied, so what Debian ships as an archive is
# linked from that archive. Off: Debian's shared libraries, for a distribution's own packages.

find_package(Threads REQUIRED)
set(Boost_USE_STATIC_LIBS ${HADAL_STATIC})
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
set(OPENSSL_USE_STATIC_LIBS ${HADAL_STATIC})
find_package(OpenSSL REQUIRED)
if(HADAL_TESTS)
  find_package(GTest REQUIRED)
endif()
if(HADAL_BENCHMARKS)
  find_package(benchmark REQUIRED)
endif()

# hadal_vendor(pcre2 pcre2.h pcre2-8): hadal::pcre2, from its archive where wanted and present.
function(hadal_vendor name header library)
  find_path(HADAL_${name}_INCLUDE ${header} REQUIRED)
  if(HADAL_STATIC)
    find_library(HADAL_${name}_LIBRARY NAMES lib${library}.a ${library} REQUIRED)
  else()
    find_library(HADAL_${name}_LIBRARY NAMES ${library} REQUIRED)
  endif()
  mark_as_advanced(HADAL_${name}_INCLUDE HADAL_${name}_LIBRARY)
  add_library(hadal::${name} UNKNOWN IMPORTED)
  set_target_properties(hadal::${name} PROPERTIES IMPORTED_LOCATION ${HADAL_${name}_LIBRARY}
                        INTERFACE_INCLUDE_DIRECTORIES ${HADAL_${name}_INCLUDE})
endfunction()

hadal_vendor(pcre2 pcre2.h pcre2-8)
hadal_vendor(utf8proc utf8proc.h utf8proc)
hadal_vendor(yaml yaml-cpp/yaml.h yaml-cpp)
hadal_vendor(sqlite sqlite3.h sqlite3)
hadal_vendor(hiredis hiredis/hiredis.h hiredis)

# PostgreSQL's library is loaded when a configuration names such a store (gateway/postgres_limits.cc); only
# its header is needed here.
find_path(HADAL_POSTGRES_INCLUDE libpq-fe.h PATH_SUFFIXES postgresql REQUIRED)
mark_as_advanced(HADAL_POSTGRES_INCLUDE)
add_library(hadal_postgres INTERFACE)
target_include_directories(hadal_postgres SYSTEM INTERFACE ${HADAL_POSTGRES_INCLUDE})
target_link_libraries(hadal_postgres INTERFACE ${CMAKE_DL_LIBS})
add_library(hadal::postgres ALIAS hadal_postgres)

# fmt has no archive in Debian; its functions are compiled here, once.
find_path(HADAL_FMT_INCLUDE fmt/format-inl.h REQUIRED)
mark_as_advanced(HADAL_FMT_INCLUDE)
add_library(hadal_fmt STATIC ${CMAKE_CURRENT_LIST_DIR}/fmt.cc)
add_library(hadal::fmt ALIAS hadal_fmt)

# spdlog, from its headers, with that fmt.
add_library(hadal_spdlog INTERFACE)
target_compile_definitions(hadal_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
target_link_libraries(hadal_spdlog INTERFACE hadal::fmt)
add_library(hadal::spdlog ALIAS hadal_spdlog)

set(HADAL_VENDORS_base hadal::fmt Threads::Threads)
set(HADAL_VENDORS_text hadal::pcre2 hadal::utf8proc Boost::json)
set(HADAL_VENDORS_format Boost::json)
set(HADAL_VENDORS_api Boost::json)
set(HADAL_VENDORS_net Boost::headers Boost::url OpenSSL::SSL)
set(HADAL_VENDORS_model Boost::json)
set(HADAL_VENDORS_tools Boost::json)
set(HADAL_VENDORS_gateway hadal::yaml hadal::sqlite hadal::hiredis hadal::postgres OpenSSL::Crypto)
set(HADAL_VENDORS_apps hadal::spdlog Boost::json)

# A shared C++ library brings the shared C++ runtime; two runtimes in one process would be asking for
# trouble. So the runtime is linked in only when no vendor is shared: every one of them has an archive.
if(HADAL_STATIC)
  foreach(name pcre2 utf8proc yaml sqlite hiredis)
    if(NOT HADAL_${name}_LIBRARY MATCHES "\\.a$")
      message(FATAL_ERROR "${name} has no archive here: ${HADAL_${name}_LIBRARY}; -DHADAL_STATIC=OFF links it shared")
    endif()
  endforeach()
  if(NOT HADAL_SANITIZE)
    add_link_options(-static-libstdc++ -static-libgcc)
  endif()
endif()
