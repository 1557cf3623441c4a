SUMMARY = "Edge vision inspection in takt time"
DESCRIPTION = "The inspection station, its historian and their command line: a PLC announces a part, cameras capture it, \
               models look for defects, and a verdict with the PLC's cycle ID is there before the reject gate."
SECTION = "console/tools"
LICENSE = "MIT OR Apache-2.0"
LIC_FILES_CHKSUM = "\
    file://LICENSE-MIT;md5=d3f1f91af93dd89fce7df9b840bc3345 \
    file://LICENSE-APACHE;md5=83f257f1cbd1d447b8299639d5247e52 \
"
CVE_PRODUCT = "takt"

# rusqlite compiles its own SQLite and gstreamer-rs links the libraries; everything else is Rust.
DEPENDS = "glib-2.0 gstreamer1.0 gstreamer1.0-plugins-base"

require takt-crates.inc

# The layer lies in the repository that it builds, so program, layer and list of crates are one commit: the one that is checked out.
# What is not committed is not built. Give a URI and a SRCREV of your own to build another one.
TAKT_REPOSITORY_DIR ?= "${@os.path.realpath(d.getVar('FILE_DIRNAME') + '/../../../..')}"
TAKT_SOURCE ?= "git://${TAKT_REPOSITORY_DIR};protocol=file;usehead=1;nobranch=1"
PV = "0.1.0+git"
SRC_URI += "\
    ${TAKT_SOURCE} \
    file://takt-profile.sh.in \
    file://50-onnxruntime.conf.in \
"
# nooelint: oelint.vars.autorev - the revision is that of this very file, which is what makes it reproducible
SRCREV = "${AUTOREV}"

inherit cargo cargo-update-recipe-crates pkgconfig systemd useradd

# Only the library that runs the models differs between machines; takt opens it when it starts.
TAKT_ONNXRUNTIME ?= "onnxruntime-prebuilt"
TAKT_ONNXRUNTIME:tegra ?= "onnxruntime"
TAKT_ONNXRUNTIME_LIBRARY ?= "${libdir}/takt/libonnxruntime.so"
TAKT_ONNXRUNTIME_LIBRARY:tegra ?= "${libdir}/libonnxruntime.so.1"

do_install:append() {
    install -d ${D}${systemd_system_unitdir} ${D}${nonarch_libdir}/sysusers.d ${D}${docdir}/takt/examples
    # With takt-standin.service, which the station's failure starts and nobody enables.
    install -m 0644 ${S}/systemd/takt-*.service ${D}${systemd_system_unitdir}/
    install -m 0644 ${S}/systemd/takt.sysusers ${D}${nonarch_libdir}/sysusers.d/takt.conf
    if [ -e ${S}/systemd/takt.tmpfiles ]; then
        install -D -m 0644 ${S}/systemd/takt.tmpfiles ${D}${nonarch_libdir}/tmpfiles.d/takt.conf
    fi
    cp -R --no-dereference --preserve=mode ${S}/examples/. ${D}${docdir}/takt/examples/
    cp -R --no-dereference --preserve=mode ${S}/systemd/examples ${D}${docdir}/takt/examples/systemd

    # The providers for CUDA and TensorRT are looked for beside the library that was opened, so its true path is handed over, not a link elsewhere.
    install -d ${D}${systemd_system_unitdir}/takt-station.service.d ${D}${sysconfdir}/profile.d
    sed -e 's!@LIBRARY@!${TAKT_ONNXRUNTIME_LIBRARY}!' ${UNPACKDIR}/50-onnxruntime.conf.in \
        > ${D}${systemd_system_unitdir}/takt-station.service.d/50-onnxruntime.conf
    sed -e 's!@LIBRARY@!${TAKT_ONNXRUNTIME_LIBRARY}!' ${UNPACKDIR}/takt-profile.sh.in > ${D}${sysconfdir}/profile.d/takt.sh
}

# CUDA and TensorRT write machine code as they run.
do_install:append:tegra() {
    install -m 0644 ${S}/systemd/examples/jit.conf ${D}${systemd_system_unitdir}/takt-station.service.d/50-jit.conf
}

# The root is read-only, so the user is made here and not at boot; image assembly compares it with sysusers.d/takt.conf.
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system takt; --system gpio; --system i2c"
USERADD_PARAM:${PN} = "--system --home-dir ${localstatedir}/lib/takt --no-create-home --shell ${sbindir}/nologin --gid takt --groups video,gpio,i2c takt"

SYSTEMD_SERVICE:${PN} = "takt-station.service takt-historian.service takt-failsafe.service"

PACKAGES =+ "${PN}-examples"
# nooelint: oelint.var.filesoverride - a package of its own
FILES:${PN}-examples = "${docdir}/takt/examples"
FILES:${PN} += "\
    ${nonarch_libdir}/sysusers.d/takt.conf \
    ${nonarch_libdir}/tmpfiles.d/takt.conf \
    ${systemd_system_unitdir} \
"
RDEPENDS:${PN} += "${TAKT_ONNXRUNTIME}"
# Elements that station.toml may name: a sink into the program, test pictures, conversion, V4L2, JPEG, RTSP.
RRECOMMENDS:${PN} += "\
    gstreamer1.0-plugins-base-app \
    gstreamer1.0-plugins-base-videoconvertscale \
    gstreamer1.0-plugins-base-videotestsrc \
    gstreamer1.0-plugins-good-jpeg \
    gstreamer1.0-plugins-good-rtp \
    gstreamer1.0-plugins-good-rtpmanager \
    gstreamer1.0-plugins-good-rtsp \
    gstreamer1.0-plugins-good-udp \
    gstreamer1.0-plugins-good-video4linux2 \
"
