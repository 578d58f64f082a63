# What scripts do to files: the harness compares the tree left behind.
mkdir -p a/b/c; echo 1 > a/1; echo 2 > a/b/2; echo 3 > a/b/c/3
ln -s ../1 a/b/link; ln a/1 a/hard; ln -s nowhere dangling
cp a/1 copy; cp -r a tree; mv tree/b/2 tree/moved; rm -r tree/b/c
chmod 755 copy; chmod u-w,g+x a/1; chmod 600 a/b/2
test -x copy && echo executable; test -L a/b/link && readlink a/b/link; cat a/b/link
stat -c '%a %s %h %F' copy a/1 a a/b/link
touch -d @1000000000 stamped; stat -c %Y stamped
dd if=/dev/zero of=zeros bs=1000 count=7 2>/dev/null; wc -c < zeros
printf abc | dd of=zeros bs=1 seek=10 conv=notrunc 2>/dev/null; od -An -c -j 8 -N 6 zeros
truncate -s 5 zeros; truncate -s 20 zeros; od -An -tx1 zeros
cmp a/1 a/hard && echo same; cmp a/1 a/b/2; diff a/1 a/b/2; echo "diff $?"
rmdir a 2>/dev/null; echo "rmdir $?"; mkdir a 2>/dev/null; echo "mkdir $?"
find . -type f | sort; find . -name '*.none'; find a -type l | sort
du -a a > /dev/null; ls a/b; ls -1 nothere 2>/dev/null; echo "ls $?"
tar cf t.tar --owner=0 --group=0 --mtime=@0 a 2>/dev/null || tar cf t.tar a; tar tf t.tar | sort; rm t.tar
mkfifo p; (echo fifo > p &) ; cat p; rm p
echo x > x; exec 3< x; rm x; cat <&3; exec 3<&-
: > empty; test -s empty || echo empty
mkdir sticky; chmod 1777 sticky; stat -c %a sticky
cd a/b; pwd -P | sed 's,.*/work/,,'; cd ../..; rm -rf sticky
