FILESEXTRAPATHS:prepend:takt-appliance := "${THISDIR}/../../../../recipes-kernel/linux/files:"
SRC_URI:append:takt-appliance = " file://takt.cfg"
