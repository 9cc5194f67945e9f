# The real root is there already.
mount_top() { :; }
mount_premount() { :; }
mount_bottom() { :; }
mountroot() { mount -n -o bind /system "${rootmnt}"; }
