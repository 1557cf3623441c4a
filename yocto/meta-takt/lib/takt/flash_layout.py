"""NVIDIA's partition layouts, with a partition for data at the end.

The layouts of the board support package have a partition for user data, UDA, but on NVMe it is 400 MiB and lies before the root file systems, so it cannot
grow. takt's own comes last and fills the disk. It has no number of its own and no file: what flashes it leaves it empty, and the box formats it.
"""

import xml.etree.ElementTree as ET

# "The partition takes all the space that is left", a bit of NVIDIA's allocation_attribute.
FILLS_THE_REST = 0x800

# At least this much, 1 GiB; the flashing tools refuse a disk with less.
SIZE_MIN = 1 << 30

# "Linux filesystem data" of the GUID partition table.
LINUX_DATA = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


class NoPlace(ValueError):
    """There is no disk with a root file system, or it has not the end that one should have."""


def add_data_partition(folder, name):
    """Changes the layouts in a folder (a Path) that hold a root file system; others hold the boot chain alone. Returns the changed files' names."""
    changed = []
    for file in sorted(folder.glob("*.xml")):
        text = file.read_text(encoding="utf-8")
        layout = with_data_partition(text, name)
        if layout != text:
            file.write_text(layout, encoding="utf-8")
            changed.append(file.name)
    if not changed:
        raise NoPlace("none of them has a disk with a partition APP")
    return changed


def with_data_partition(layout, name):
    """The text of a layout with a data partition of that name behind all others on each disk that holds a root file system (APP)."""
    # Comments are kept: NVIDIA's tools do not read them, people do.
    root = ET.fromstring(layout, parser=ET.XMLParser(target=ET.TreeBuilder(insert_comments=True)))
    disks = [device for device in root.iter("device") if device.find("partition[@name='APP']") is not None]
    if not disks:
        return layout
    for disk in disks:
        _append(disk, name)
    return '<?xml version="1.0"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _append(disk, name):
    if disk.find(f"partition[@name='{name}']") is not None:
        return
    end = disk.find("partition[@name='secondary_gpt']")
    if end is None:
        raise NoPlace("the disk with APP has no partition secondary_gpt to come before")
    for partition in disk.findall("partition"):
        _stop_filling(partition)
    disk.insert(list(disk).index(end), _data(name))


def _stop_filling(partition):
    """Only one partition can have what is left of the disk."""
    attribute = partition.find("allocation_attribute")
    if attribute is not None and int(attribute.text, 0) & FILLS_THE_REST:
        attribute.text = f" {int(attribute.text, 0) & ~FILLS_THE_REST:#x} "


def _data(name):
    partition = ET.Element("partition", name=name, type="data")
    contents = {
        "allocation_policy": "sequential",
        "filesystem_type": "basic",
        "size": SIZE_MIN,
        "file_system_attribute": 0,
        "allocation_attribute": f"{0x8 | FILLS_THE_REST:#x}",
        "partition_type_guid": LINUX_DATA,
        "percent_reserved": 0,
        # Erase blocks of eMMC and NVMe are no larger.
        "align_boundary": 4 << 20,
        "description": "Configuration, models and records of a takt station. Formatted by the box.",
    }
    for tag, text in contents.items():
        ET.SubElement(partition, tag).text = f" {text} "
    partition.tail = "\n        "
    return partition
