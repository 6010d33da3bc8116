"""Whose cloud a host is in, by what its firmware says of itself. Pure; no metadata service is asked."""

from collections.abc import Mapping
from typing import Final

FILES: Final = ("sys_vendor", "product_name", "product_version", "bios_vendor", "chassis_asset_tag", "board_vendor")
"""Of `/sys/class/dmi/id` (the kernel's Documentation/ABI/testing/sysfs-class-dmi), those that tell it."""
_AZURE: Final = "7783-7084-3265-9085-8269-3286-77"
"""The asset tag of a machine in Azure; one that merely runs on Hyper-V has another."""
_SIGNS: Final[tuple[tuple[str, str, str], ...]] = (
    ("sys_vendor", "amazon ec2", "aws"),
    ("bios_vendor", "amazon ec2", "aws"),
    ("product_version", "amazon", "aws"),
    ("chassis_asset_tag", "amazon ec2", "aws"),
    ("product_name", "google compute engine", "gcp"),
    ("chassis_asset_tag", _AZURE, "azure"),
    ("chassis_asset_tag", "oraclecloud", "oracle"),
    ("sys_vendor", "alibaba cloud", "alibaba"),
    ("sys_vendor", "tencent cloud", "tencent"),
    ("sys_vendor", "digitalocean", "digitalocean"),
    ("sys_vendor", "hetzner", "hetzner"),
    ("sys_vendor", "scaleway", "scaleway"),
    ("sys_vendor", "linode", "linode"),
    ("sys_vendor", "akamai", "linode"),
    ("sys_vendor", "vultr", "vultr"),
    ("sys_vendor", "openstack", "openstack"),
    ("product_name", "openstack", "openstack"),
)


def named(firmware: Mapping[str, str]) -> str | None:
    """The cloud, by file name → its text; None on a machine of one's own, and where nothing is told."""
    said = {name: text.strip().lower() for name, text in firmware.items()}
    return next((cloud for name, sign, cloud in _SIGNS if sign in said.get(name, "")), None)
