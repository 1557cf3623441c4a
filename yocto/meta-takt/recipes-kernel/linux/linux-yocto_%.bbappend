FILESEXTRAPATHS:prepend:takt-appliance := "${THISDIR}/files:"
SRC_URI:append:takt-appliance = " file://takt.cfg"
