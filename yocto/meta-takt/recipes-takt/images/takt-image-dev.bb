SUMMARY = "takt-image for a lab: SSH with a key, and tools"
DESCRIPTION = "The same root, read-only too. Root logs in with a key in TAKT_DEV_AUTHORIZED_KEYS and with nothing else."

require takt-image.inc

IMAGE_FEATURES += "ssh-server-openssh"
IMAGE_INSTALL += "\
    ethtool \
    gstreamer1.0 \
    htop \
    i2c-tools \
    iproute2 \
    quota \
    strace \
    takt-box-ssh \
    takt-examples \
    tcpdump \
    v4l-utils \
"

# A file with public keys. Without one the image is not built: it would be closed to whoever built it, too.
TAKT_DEV_AUTHORIZED_KEYS ?= ""

let_keys_in() {
    if [ -z "${TAKT_DEV_AUTHORIZED_KEYS}" ] || [ ! -s "${TAKT_DEV_AUTHORIZED_KEYS}" ]; then
        bbfatal "TAKT_DEV_AUTHORIZED_KEYS names no file with public keys: set it in the environment of kas or in local.conf"
    fi
    install -d -m 0700 ${IMAGE_ROOTFS}${ROOT_HOME}/.ssh
    install -m 0600 ${TAKT_DEV_AUTHORIZED_KEYS} ${IMAGE_ROOTFS}${ROOT_HOME}/.ssh/authorized_keys
    for config in sshd_config sshd_config_readonly; do
        # sshd takes the first value that it reads.
        sed -i -e '1i PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no' ${IMAGE_ROOTFS}${sysconfdir}/ssh/$config
    done
    # No password fits "*" either, and sshd does not take it for a locked account as it does "!".
    sed -i -e 's/^root:[^:]*:/root:*:/' ${IMAGE_ROOTFS}${sysconfdir}/shadow
}
ROOTFS_POSTPROCESS_COMMAND += "let_keys_in"
do_rootfs[file-checksums] += "${@'%s:True' % d.getVar('TAKT_DEV_AUTHORIZED_KEYS') if d.getVar('TAKT_DEV_AUTHORIZED_KEYS') else ''}"
