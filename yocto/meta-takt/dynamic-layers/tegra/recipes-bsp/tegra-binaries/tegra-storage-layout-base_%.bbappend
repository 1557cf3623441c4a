# The layouts that are flashed get a partition for data: lib/takt/flash_layout.py says why NVIDIA's own will not do.
# nooelint: oelint.vars.noncoreoverride - defined only; takt-appliance alone runs it, below
python takt_add_data_partition() {
    from pathlib import Path
    import takt.flash_layout

    folder = Path(d.getVar("D") + d.getVar("datadir")) / "l4t-storage-layout"
    try:
        changed = takt.flash_layout.add_data_partition(folder, d.getVar("TAKT_DATA_PARTITION"))
    except (takt.flash_layout.NoPlace, OSError) as error:
        bb.fatal("failed to add the data partition to the layouts in %s: %s" % (folder, error))
    bb.note("Data partition added to %s" % ", ".join(changed))
}
do_install[postfuncs] += "${TAKT_LAYOUT_POSTFUNC}"
do_install[vardeps] += "TAKT_DATA_PARTITION"
# nooelint: oelint.vars.noncoreoverride - nothing, unless the distribution is ours
TAKT_LAYOUT_POSTFUNC = ""
TAKT_LAYOUT_POSTFUNC:takt-appliance = "takt_add_data_partition"
