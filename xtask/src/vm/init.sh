#!/bin/busybox sh
# The first process of a guest: makes it a machine the agent can run on, runs /command, tells its exit status, ends.
# Serial ports: 0 the kernel's console, 1 the command's terminal, 2 what programs report.

/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /proc /sys /dev /tmp /run /root
# What is there already stays.
/bin/busybox --install -s /bin 2> /dev/null
export PATH=/bin HOME=/root TERM="${TERM:-linux}"

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
ln -s /proc/self/fd /dev/fd
for place in /tmp /run /dev/shm; do mount -t tmpfs tmpfs "$place"; done
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
for module in /modules/*; do insmod "$module"; done

mount_cgroups() {
    if [ "$cgroups" = v2 ]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        return
    fi
    # As systemd's hybrid mode: every controller in a version 1 hierarchy of its own.
    mount -t tmpfs tmpfs /sys/fs/cgroup
    while read -r controller _ _ enabled; do
        [ "$enabled" = 1 ] || continue
        mkdir "/sys/fs/cgroup/$controller"
        mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller" || rmdir "/sys/fs/cgroup/$controller"
    done < /proc/cgroups
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
}
# A parameter of the kernel's command line that the kernel does not know becomes a variable of the first process.
mount_cgroups

# Held open, so that the settings last.
exec 3> /dev/ttyS2
stty raw -echo < /dev/ttyS2
export WELLHEAD_TEST_REPORT=/dev/ttyS2
if [ "$terminal" = yes ]; then
    echo "Kernel $(uname -r), cgroups $cgroups. The command's end is the guest's."
    setsid cttyhack sh /command < /dev/ttyS1 > /dev/ttyS1 2>&1
else
    exec 4> /dev/ttyS1
    stty raw -echo < /dev/ttyS1
    setsid sh /command < /dev/null > /dev/ttyS1 2>&1
fi
echo "{\"exit\":$?}" >&3
exec 3>&- 4>&-
poweroff -f
