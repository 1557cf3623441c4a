SUMMARY = "A station and all that it needs on a box"
DESCRIPTION = "takt, its site's configuration, data partition, firewall and clocks. The cameras' drivers come as recommendations: a kernel may have them built in."

inherit packagegroup

RDEPENDS:${PN} = "\
    chrony \
    chronyc \
    linuxptp \
    takt \
    takt-box \
    takt-site \
    tzdata \
"
# The slots of a Jetson are marked as good by its own tools.
RRECOMMENDS:${PN}:append:tegra = " tegra-redundant-boot"
RRECOMMENDS:${PN} = "\
    kernel-module-nf-conntrack \
    kernel-module-nf-log-syslog \
    kernel-module-nf-tables \
    kernel-module-nft-ct \
    kernel-module-nft-limit \
    kernel-module-nft-log \
    kernel-module-quota-v2 \
    kernel-module-uvcvideo \
"
