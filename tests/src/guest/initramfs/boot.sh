# The real root is already mounted.
mount_top() { :; }
mount_premount() { :; }
mount_bottom() { :; }
mountroot() { mount -n -o bind /system "${rootmnt}"; }
