SUMMARY = "What makes a machine a box: data partition, firewall, limits"
DESCRIPTION = "Units and settings of an appliance with a read-only root. They hold for any machine that has a partition named TAKT_DATA_PARTITION."
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://40-data.conf \
    file://50-timeout.conf \
    file://60-quota.conf.in \
    file://chronyd.conf \
    file://data-partition.conf \
    file://data.mount.in \
    file://emergency-reboot.conf \
    file://etc-systemd-network.mount \
    file://etc-takt.mount \
    file://firewall.nft.in \
    file://journald.conf \
    file://networkd.conf \
    file://ssh.nft \
    file://sysctl.conf \
    file://takt-data \
    file://takt-data.service.in \
    file://takt-firewall.service.in \
    file://takt-folders.service.in \
    file://takt-ptp.service.in \
    file://var-cache-takt.mount \
    file://var-lib-takt.mount \
    file://watchdog.conf \
"

S = "${UNPACKDIR}"

inherit features_check systemd

REQUIRED_DISTRO_FEATURES = "systemd"

TAKT_DATA_PARTITION ?= "takt-data"
TAKT_STATE_QUOTA ?= "80%"
TAKT_FIREWALL_PORTS ?= "502 7444 9184"

DATA_DEVICE = "/dev/disk/by-partlabel/${TAKT_DATA_PARTITION}"

# systemd.unit(5), "STRING ESCAPING FOR INCLUSION IN UNIT NAMES": what is no letter or digit becomes \xNN, a slash becomes a dash.
def unit_of_device(path):
    kept = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_."
    escaped = (c if c in kept else "-" if c == "/" else "\\x%02x" % ord(c) for c in path.strip("/"))
    return "".join(escaped) + ".device"

DATA_DEVICE_UNIT = "${@unit_of_device(d.getVar('DATA_DEVICE'))}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

# fill_in FILE.in DESTINATION
fill_in() {
    # A backslash in a replacement of sed is doubled: device units have some.
    unit=$(printf '%s' '${DATA_DEVICE_UNIT}' | sed -e 's!\\!\\\\!g')
    ports=$(printf '%s' '${TAKT_FIREWALL_PORTS}' | sed -e 's!  *!, !g')
    sed -e "s!@DEVICE_UNIT@!$unit!g" -e 's!@DEVICE@!${DATA_DEVICE}!g' -e 's!@QUOTA@!${TAKT_STATE_QUOTA}!g' -e "s!@PORTS@!$ports!g" \
        -e 's!@LIBEXECDIR@!${libexecdir}!g' -e 's!@SBINDIR@!${sbindir}!g' -e 's!@DATADIR@!${datadir}!g' \
        ${UNPACKDIR}/$1 > $2
    if grep -q '@[A-Z_]*@' $2; then
        bbfatal "a placeholder is left in $2"
    fi
}

# drop_in UNIT NAME FILE
drop_in() {
    install -d "${D}${systemd_system_unitdir}/$1.d"
    case $3 in
        *.in) fill_in $3 "${D}${systemd_system_unitdir}/$1.d/$2" ;;
        *) install -m 0644 ${UNPACKDIR}/$3 "${D}${systemd_system_unitdir}/$1.d/$2" ;;
    esac
}

do_install() {
    install -D -m 0755 ${UNPACKDIR}/takt-data ${D}${libexecdir}/takt/takt-data

    install -d ${D}${systemd_system_unitdir} ${D}${datadir}/takt/firewall.d
    install -m 0644 ${UNPACKDIR}/*.mount ${D}${systemd_system_unitdir}/
    for unit in takt-data.service takt-folders.service takt-firewall.service takt-ptp.service data.mount; do
        fill_in $unit.in ${D}${systemd_system_unitdir}/$unit
    done
    install -m 0644 ${UNPACKDIR}/data-partition.conf ${D}${datadir}/takt/
    fill_in firewall.nft.in ${D}${datadir}/takt/firewall.nft
    install -m 0644 ${UNPACKDIR}/ssh.nft ${D}${datadir}/takt/firewall.d/

    drop_in '${DATA_DEVICE_UNIT}' 50-takt.conf 50-timeout.conf
    for unit in station historian; do
        drop_in takt-$unit.service 40-data.conf 40-data.conf
    done
    drop_in takt-station.service 60-quota.conf 60-quota.conf.in
    drop_in systemd-networkd.service 50-takt.conf networkd.conf
    drop_in chronyd.service 50-takt.conf chronyd.conf
    for unit in emergency rescue; do
        drop_in $unit.service 50-takt.conf emergency-reboot.conf
    done

    install -D -m 0644 ${UNPACKDIR}/journald.conf ${D}${nonarch_libdir}/systemd/journald.conf.d/50-takt.conf
    install -D -m 0644 ${UNPACKDIR}/watchdog.conf ${D}${nonarch_libdir}/systemd/system.conf.d/50-takt.conf
    install -D -m 0644 ${UNPACKDIR}/sysctl.conf ${D}${nonarch_libdir}/sysctl.d/50-takt.conf

    # Where the data partition is mounted, and where what is on it is bound.
    install -d ${D}/data ${D}${sysconfdir}/systemd/network ${D}${localstatedir}/lib/takt
}

SYSTEMD_SERVICE:${PN} = "\
    data.mount \
    etc-systemd-network.mount \
    etc-takt.mount \
    takt-firewall.service \
    takt-ptp.service \
    var-cache-takt.mount \
    var-lib-takt.mount \
"

PACKAGES =+ "${PN}-ssh"
# nooelint: oelint.var.filesoverride - a package of its own
FILES:${PN}-ssh = "${datadir}/takt/firewall.d/ssh.nft"
FILES:${PN} += "\
    /data \
    ${sysconfdir}/systemd/network \
    ${localstatedir}/lib/takt \
    ${libexecdir}/takt \
    ${datadir}/takt \
    ${nonarch_libdir}/systemd \
    ${nonarch_libdir}/sysctl.d \
    ${systemd_system_unitdir} \
"
RDEPENDS:${PN} = "e2fsprogs-e2fsck e2fsprogs-mke2fs e2fsprogs-tune2fs kmod linuxptp nftables takt util-linux-blkid"
