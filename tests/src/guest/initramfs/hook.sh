#!/bin/sh
# One module that udev loads for a device that exists in every guest.
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules button
