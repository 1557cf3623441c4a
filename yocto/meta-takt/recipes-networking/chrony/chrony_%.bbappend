FILESEXTRAPATHS:prepend:takt-appliance := "${THISDIR}/${PN}:"
