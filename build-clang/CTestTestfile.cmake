# CMake generated Testfile for 
# Source directory: /work/wt-k2
# Build directory: /work/wt-k2/build-clang
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
subdirs("third_party")
subdirs("kernels")
subdirs("graph")
subdirs("frontends/onnx")
subdirs("engine")
subdirs("tools")
subdirs("bench")
subdirs("tests")
