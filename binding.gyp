{
  "variables": {
    # The directories of node-addon-api and node-api-headers; native/build.mjs passes them.
    "node_addon_api%": "node_modules/node-addon-api",
    "node_api_headers%": "node_modules/node-api-headers/include",
    # A prebuild brings its C++ library along.
    "static_runtime%": 0,
    # Test builds offer the kernels on tiles everywhere, with tiles in plain C++.
    "emulate_tiles%": 0,
    "avx2_flags": ["-mavx2", "-mfma", "-mf16c"],
    "avx512_flags": ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vbmi", "-mavx512vnni", "-mgfni"],
    # gcc 12's own headers read what they leave undefined on purpose.
    "avx512_warnings": ["-Wno-uninitialized", "-Wno-maybe-uninitialized"],
  },
  "target_defaults": {
    "include_dirs": ["native"],
    "cflags": ["-fPIC", "-O3", "-ffp-contract=off", "-Wall", "-Wextra", "-pthread"],
    "cflags_cc": ["-std=c++20", "-fexceptions"],
    "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++1y", "-std=gnu++20"],
    "xcode_settings": {
      "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
      "GCC_ENABLE_CPP_EXCEPTIONS": "YES",
      "GCC_OPTIMIZATION_LEVEL": "3",
      "MACOSX_DEPLOYMENT_TARGET": "11.0",
      "OTHER_CFLAGS": ["-ffp-contract=off"],
    },
    "conditions": [["emulate_tiles == 1", { "defines": ["DAYSIX_EMULATE_TILES"] }]],
  },
  "targets": [
    {
      "target_name": "kernels_portable",
      "type": "static_library",
      "sources": ["native/kernels.cc"],
      "defines": ["DAYSIX_ISA=portable"],
    },
    {
      "target_name": "daysix",
      "sources": [
        "native/host/addon.cc",
        "native/host/decode.cc",
        "native/host/exchange.cc",
        "native/host/grouped-mlp.cc",
        "native/host/indices.cc",
        "native/host/isa.cc",
        "native/host/mapped-names.cc",
        "native/host/probe.cc",
        "native/host/stamp.cc",
        "native/host/stream.cc",
        "native/host/strips.cc",
        "native/host/team.cc",
        "native/host/weight-files.cc",
      ],
      "include_dirs": ["<(node_addon_api)", "<(node_api_headers)"],
      "defines": [
        "NAPI_VERSION=8",
        "NAPI_CPP_EXCEPTIONS",
        # In a worker that is being terminated nothing can be thrown, nor needs to be.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
      ],
      "dependencies": ["kernels_portable"],
      "ldflags": ["-pthread"],
      "conditions": [
        ["target_arch == 'x64'", { "dependencies": ["kernels_avx512bf16", "kernels_avx512", "kernels_avx2"] }],
        ["target_arch == 'x64' and OS == 'linux'", { "dependencies": ["kernels_amx"] }],
        ["static_runtime == 1 and OS == 'linux'", { "ldflags": ["-static-libstdc++", "-static-libgcc"] }],
      ],
    },
  ],
  "conditions": [
    ["target_arch == 'x64'", {
      "targets": [
        {
          "target_name": "kernels_avx2",
          "type": "static_library",
          "sources": ["native/kernels.cc"],
          "defines": ["DAYSIX_ISA=avx2"],
          "cflags": ["<@(avx2_flags)"],
          "xcode_settings": { "OTHER_CFLAGS": ["<@(avx2_flags)"] },
        },
        {
          "target_name": "kernels_avx512",
          "type": "static_library",
          "sources": ["native/kernels.cc"],
          "defines": ["DAYSIX_ISA=avx512"],
          "cflags": ["<@(avx512_flags)", "<@(avx2_flags)", "<@(avx512_warnings)"],
          "xcode_settings": { "OTHER_CFLAGS": ["<@(avx512_flags)", "<@(avx2_flags)"] },
        },
        {
          "target_name": "kernels_avx512bf16",
          "type": "static_library",
          "sources": ["native/kernels.cc"],
          "defines": ["DAYSIX_ISA=avx512bf16"],
          "cflags": ["-mavx512bf16", "<@(avx512_flags)", "<@(avx2_flags)", "<@(avx512_warnings)"],
          "xcode_settings": { "OTHER_CFLAGS": ["-mavx512bf16", "<@(avx512_flags)", "<@(avx2_flags)"] },
        },
      ],
    }],
    ["target_arch == 'x64' and OS == 'linux'", {
      "targets": [
        {
          "target_name": "kernels_amx",
          "type": "static_library",
          "sources": ["native/kernels.cc"],
          "defines": ["DAYSIX_ISA=amx", "DAYSIX_TILES"],
          "cflags": ["-mavx512bf16", "<@(avx512_flags)", "<@(avx2_flags)", "<@(avx512_warnings)"],
        },
      ],
    }],
  ],
}
