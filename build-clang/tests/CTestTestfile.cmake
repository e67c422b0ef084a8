# CMake generated Testfile for 
# Source directory: /work/wt-k2/tests
# Build directory: /work/wt-k2/build-clang/tests
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
include("/work/wt-k2/build-clang/tests/kernels_tests[1]_include.cmake")
