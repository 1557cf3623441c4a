SUMMARY = "An inspection station for a plant: nobody logs in"
DESCRIPTION = "Root read-only, records on a partition of their own, no password, no SSH. It is changed by its site's configuration and by the next image."

require takt-image.inc

# Whatever local.conf says: an image of this name cannot be logged into.
TAKT_FORBIDDEN_FEATURES = "\
    allow-empty-password \
    allow-root-login \
    debug-tweaks \
    empty-root-password \
    serial-autologin-root \
    ssh-server-dropbear \
    ssh-server-openssh \
"

lock_out_everybody() {
    found="${@' '.join(sorted(set((d.getVar('IMAGE_FEATURES') or '').split()) & set(d.getVar('TAKT_FORBIDDEN_FEATURES').split())))}"
    if [ -n "$found" ]; then
        bbfatal "takt-image is for plants and takes none of these IMAGE_FEATURES: $found. Remove them, or build takt-image-dev"
    fi
    # No password fits, and no key is asked for: there is no SSH server.
    sed -i -e 's/^root:[^:]*:/root:!:/' ${IMAGE_ROOTFS}${sysconfdir}/shadow
}
ROOTFS_POSTPROCESS_COMMAND += "lock_out_everybody"
