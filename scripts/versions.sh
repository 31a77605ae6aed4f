# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: Apache-2.0
# Every version this project pins, in one place. Sourced by scripts/lib.sh.
# A row: PyPI name, version, sha256 of the file pip downloads, what is unpacked of it (a Python regular expression).

# What a build on any x86-64 machine needs. libtorch of this wheel asks for libcudart and libcupti even on the CPU.
t2v_wheels_cpu='
torch 2.11.0 7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a torch/include/.*|torch/lib/lib(torch_cpu|c10)\.so|torch/lib/libgomp\.so.*
nvidia-cuda-runtime 13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 nvidia/.*/libcudart\.so.*
nvidia-cuda-cupti 13.0.85 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8 nvidia/.*/libcupti\.so.*
'
# Added where nvcc is installed, so that the CUDA plug-in links: more of the same torch wheel.
t2v_wheels_plugin='
torch 2.11.0 7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a torch/lib/lib(torch_cuda|torch_cuda_linalg|torch_nvshmem|c10_cuda|caffe2_nvrtc)\.so
'
# Added where an NVIDIA driver is found, or with `scripts/setup --cuda`: what libtorch_cuda needs to run (the versions
# torch 2.11.0 names in its metadata), and the compiler of the same toolkit (13.0) for the plug-in.
t2v_wheels_cuda='
nvidia-cuda-runtime 13.0.96 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 nvidia/.*
nvidia-cublas 13.1.0.3 ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171 nvidia/.*
nvidia-cuda-nvrtc 13.0.88 ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575 nvidia/.*
nvidia-cudnn-cu13 9.19.0.56 d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf nvidia/.*
nvidia-cufft 12.0.0.61 6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3 nvidia/.*
nvidia-cufile 1.15.1.6 08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44 nvidia/.*
nvidia-curand 10.4.0.35 1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc nvidia/.*
nvidia-cusolver 12.0.4.66 0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112 nvidia/.*
nvidia-cusparse 12.6.3.3 2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b nvidia/.*
nvidia-cusparselt-cu13 0.8.0 25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd nvidia/.*
nvidia-nccl-cu13 2.28.9 e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42 nvidia/.*
nvidia-nvjitlink 13.0.88 13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b nvidia/.*
nvidia-nvshmem-cu13 3.4.5 290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80 nvidia/.*
nvidia-nvtx 13.0.85 4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4 nvidia/.*
nvidia-cuda-nvcc 13.0.88 56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03 nvidia/.*
nvidia-cuda-crt 13.0.88 2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4 nvidia/.*
nvidia-nvvm 13.0.88 c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0 nvidia/.*
nvidia-cuda-cccl 13.0.85 e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649 nvidia/cu13/include/.*
'
# The torch wheel's tags (any CPython's would do: its libraries do not depend on Python).
t2v_wheel_python=3.11
t2v_wheel_platforms='manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_25 manylinux_2_24 manylinux_2_18 manylinux_2_17 manylinux2014 manylinux_2_12 manylinux2010 manylinux_2_5 manylinux1'

# System packages (Debian 12, Ubuntu 22.04 and newer). Commands are looked up as commands, so that a tool installed in
# another way counts; the rest as packages.
t2v_apt_commands='g++:g++ cmake:cmake ninja:ninja-build pkg-config:pkg-config python3:python3'
# Taken where they are to be had: they make builds faster.
t2v_apt_optional='ccache:ccache mold|ld.lld:mold'
# What only tests use, taken in the same way.
t2v_apt_tests='valgrind:valgrind'
t2v_apt_packages='libspdlog-dev libcli11-dev nlohmann-json3-dev libstb-dev libutf8proc-dev libhwy-dev
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev libavfilter-dev libgtest-dev libgmock-dev'

# Only for making goldens (scripts/make_golden.py), never for building, testing or running.
t2v_golden='torch==2.11.0 diffusers==0.42.1 transformers==5.23.0 sentencepiece==0.2.3 protobuf==7.36.2 scipy==1.17.1 torchsde==0.2.6 peft==0.21.2'
