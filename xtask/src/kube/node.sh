# What a node sees of its machine: run in namespaces of its own (mounts, network, process ids), which last as long as this does.
# $1 is the rig's directory, $2 that of its logs; the others are places, relative to the root, that are the rig's own in here.
set -eu
rig=$1
logs=$2
shift 2

# Kubelet wants mounts of pods to spread; beyond this namespace they do not.
mount --make-rshared /

# Kubelet sets these for the whole machine. Here they are files.
mkdir -p "$rig/sysctl"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    name=${setting%=*}
    file=$rig/sysctl/$(echo "$name" | tr / _)
    echo "${setting#*=}" > "$file"
    mount --bind "$file" "/proc/sys/$name"
done

for place in "$@"; do
    case $place in
    var/log/pods) source=$logs/pods ;;
    *) source=$rig/places/$place ;;
    esac
    mkdir -p "$source"
    mount --bind "$source" "/$place"
done

# What agents pin in here goes away with the node.
if [ -d /sys/fs/bpf ]; then
    mount -t bpf bpf /sys/fs/bpf
fi

# These belong to the network namespace. Without the second, answers between two pods of one bridge pass by the rules that
# have to turn their addresses back.
echo 1 > /proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
    echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
fi
ip link set lo up

: > "$rig/node-is-there"
# Not in this one's place: who is process 1 has to wait for every orphan, which a shell does.
sleep infinity &
wait
