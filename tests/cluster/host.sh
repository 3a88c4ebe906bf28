#!/usr/bin/env bash
# What makes a machine out of fresh namespaces; the first process in them, so all ends with it.
# host.sh FOLDER NAME CORES [SHARED...]: FOLDER has tmp/ and etc/; SHARED are folders under /tmp
# that this machine shall see as well. Ends when its standard input does.
set -eu
folder=$1 name=$2 cores=$3
shift 3

for shared; do
  mkdir -p "$folder/tmp/${shared#/tmp/}"
  mount --bind "$shared" "$folder/tmp/${shared#/tmp/}"
done
for file in passwd hosts; do
  mount --bind "$folder/etc/$file" "/etc/$file"
done
keys=$(cat "$folder/etc/authorized_keys")
echo "$cores" >"$folder/tmp/cores"
mount --rbind "$folder/tmp" /tmp # from here on FOLDER itself may be out of sight
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t sysfs sysfs /sys
mount --bind /tmp/cores /sys/devices/system/cpu/online # where the C library counts cores
hostname "$name"
ip link set lo up

mkdir -p /run/sshd "$HOME/.ssh"
touch "$HOME/.bashrc"
echo "$keys" >"$HOME/.ssh/authorized_keys"
ssh-keygen -q -t ed25519 -N '' -f /run/host_key
"$(command -v sshd)" -D -f /dev/null -h /run/host_key -o PidFile=none -o StrictModes=no \
  -o UsePAM=no -o PasswordAuthentication=no -o MaxStartups=100 &
echo ready
cat >/dev/null
