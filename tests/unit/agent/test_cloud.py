import pytest

from agent import cloud


@pytest.mark.parametrize(
    ("firmware", "name"),
    [
        ({"sys_vendor": "Amazon EC2\n"}, "aws"),
        ({"sys_vendor": "Xen\n", "product_version": "4.11.amazon\n"}, "aws"),
        ({"sys_vendor": "Google\n", "product_name": "Google Compute Engine\n"}, "gcp"),
        ({"sys_vendor": "Microsoft Corporation\n", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77\n"}, "azure"),
        ({"sys_vendor": "QEMU\n", "chassis_asset_tag": "OracleCloud.com\n"}, "oracle"),
        ({"sys_vendor": "Hetzner\n"}, "hetzner"),
        ({"sys_vendor": "Microsoft Corporation\n", "product_name": "Virtual Machine\n"}, None),
        ({"sys_vendor": "Google\n", "product_name": "Chromebook\n"}, None),
        ({}, None),
    ],
)
def test_a_cloud_is_known_by_what_its_firmware_says(firmware: dict[str, str], name: str | None) -> None:
    assert cloud.named(firmware) == name
