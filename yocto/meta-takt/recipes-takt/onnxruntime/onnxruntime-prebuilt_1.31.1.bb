SUMMARY = "ONNX Runtime for machines without a GPU, as its makers built it"
DESCRIPTION = "The library out of the wheel that scripts/setup.sh takes for development too: CPU only, glibc 2.28 or later. \
               A Jetson gets onnxruntime from meta-tegra-community instead, which is built from source with CUDA and TensorRT."
HOMEPAGE = "https://onnxruntime.ai"
BUGTRACKER = "https://github.com/microsoft/onnxruntime/issues"
SECTION = "libs"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://onnxruntime/LICENSE;md5=0f7e3b1308cb5c00b372a6e78835732d"

CVE_PRODUCT = "onnxruntime"

inherit pypi

PYPI_PACKAGE = "onnxruntime"
PYPI_ARCHIVE_NAME = "onnxruntime-${PV}-cp311-cp311-manylinux_2_28_aarch64.whl"
# pypi.bbclass knows the server, and that source archives lie under a name. A wheel lies under the hash that the index tells.
PYPI_SRC_URI = "${@pypi_src_uri(d).split('/packages/')[0]}/packages/02/ee/b173a49293b146b54bd057bf8681a015aef764d8f56d999ad8c6e53ab18d/${PYPI_ARCHIVE_NAME};unpack=0"
SRC_URI[sha256sum] = "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3"

S = "${UNPACKDIR}/wheel"

COMPATIBLE_HOST = "aarch64.*-linux"
COMPATIBLE_MACHINE:tegra = "(^$)"

python do_unpack:append() {
    import zipfile
    with zipfile.ZipFile(os.path.join(d.getVar("UNPACKDIR"), d.getVar("PYPI_ARCHIVE_NAME"))) as wheel:
        wheel.extractall(d.getVar("S"))
}

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -D -m 0755 ${S}/onnxruntime/capi/libonnxruntime.so.${PV} ${D}${libdir}/takt/libonnxruntime.so
    install -D -m 0644 ${S}/onnxruntime/ThirdPartyNotices.txt ${D}${docdir}/${BPN}/ThirdPartyNotices.txt
}

# Opened by path; nobody links it, and nothing else shall take its soname as provided.
FILES:${PN} += "${libdir}/takt/libonnxruntime.so"
PRIVATE_LIBS:${PN} = "libonnxruntime.so.1"

# nooelint: oelint.vars.insaneskip - it comes stripped, and under the name without a version because takt looks for that one
INSANE_SKIP:${PN} += "already-stripped dev-so"
