# What the layer computes, in modules that run without bitbake too: tests/yocto.rs runs them. bitbake imports those named here.
BBIMPORTS = ["flash_layout"]
