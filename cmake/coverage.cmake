# cmake --preset coverage && cmake --build --preset coverage --target coverage
# Runs every test and prints the line coverage of src/hadal; fails below the least that the product holds.
set(HADAL_COVERAGE_LEAST 85 CACHE STRING "least line coverage of src/hadal, per cent")
if(HADAL_COVERAGE)
  find_program(GCOVR gcovr PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
  add_custom_target(coverage
    COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR}
    COMMAND find ${CMAKE_BINARY_DIR} -name *.gcda -delete
    COMMAND ${CMAKE_CTEST_COMMAND} --test-dir ${CMAKE_BINARY_DIR} --output-on-failure
            --no-tests=error -j2
    COMMAND ${GCOVR} --root ${CMAKE_SOURCE_DIR} --object-directory ${CMAKE_BINARY_DIR}
            --filter ${CMAKE_SOURCE_DIR}/src/hadal/ --gcov-ignore-parse-errors
            --exclude ".*_(test|bench|fuzz)[.]cc" --exclude ".*/testing/.*"
            --print-summary --fail-under-line ${HADAL_COVERAGE_LEAST} ${CMAKE_BINARY_DIR}
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
    USES_TERMINAL VERBATIM)
endif()
