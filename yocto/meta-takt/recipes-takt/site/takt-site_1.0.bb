SUMMARY = "What one site's boxes are given: configuration, models, firewall and network"
DESCRIPTION = "The folder TAKT_SITE_DIR becomes /etc/takt of the image, which a box copies to its data partition at its first boot and never overwrites there."
SECTION = "console/tools"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

# Its user owns the files.
DEPENDS = "takt"

# Without one the image comes without a station.toml: it boots, and no station starts.
TAKT_SITE_DIR ?= ""
SRC_URI = "${@'file://%s;subdir=site' % d.getVar('TAKT_SITE_DIR') if d.getVar('TAKT_SITE_DIR') else ''}"

S = "${UNPACKDIR}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -d ${D}${sysconfdir}/takt ${D}${sysconfdir}/takt/network ${D}${sysconfdir}/takt/chrony.d ${D}${sysconfdir}/takt/firewall.d
    # Keys are for takt alone.
    install -d -m 0750 ${D}${sysconfdir}/takt/tls
    if [ -n "${TAKT_SITE_DIR}" ]; then
        cp -R --no-dereference --preserve=mode ${UNPACKDIR}/site${TAKT_SITE_DIR}/. ${D}${sysconfdir}/takt/
    fi
    chown -R root:root ${D}${sysconfdir}/takt
    chown -R root:takt ${D}${sysconfdir}/takt/tls
}

ALLOW_EMPTY:${PN} = "1"
RDEPENDS:${PN} = "takt"
