# What node-gyp needs of Node's own common.gypi, where Node was installed without its headers.
{
  "target_defaults": {
    "default_configuration": "Release",
    "configurations": { "Release": {}, "Debug": {} },
    "conditions": [
      ["OS == 'mac'", {
        "xcode_settings": { "OTHER_LDFLAGS": ["-undefined dynamic_lookup"] },
      }],
    ],
  },
}
