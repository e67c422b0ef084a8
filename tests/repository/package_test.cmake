# Installs the build into a folder, builds a product against it with find_package(octet), and runs it: from C++ and from C, with the
# same answer. Called by ctest with BUILD, SOURCE and WORK.
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -G Ninja -S ${SOURCE}/tests/repository/package -B ${WORK}/build -DCMAKE_PREFIX_PATH=${WORK}/prefix
    -DCMAKE_CXX_COMPILER=${CXX})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer_cpp ${SOURCE}/tools/digits/digits.onnx)
set(from_cpp "${output}")
run(${WORK}/build/consumer_c ${SOURCE}/tools/digits/digits.onnx)
if(NOT output MATCHES "^class [0-9] on [a-z0-9_]+\n$" OR NOT output STREQUAL from_cpp)
  message(FATAL_ERROR "C++ says '${from_cpp}', C says '${output}'")
endif()
