# Globbing and quoting.
mkdir -p d/e; touch a.c b.c .hidden 'with space' d/x.h d/e/y.h '[x]'
echo *.c; echo *; echo .h*; echo d/*; echo */*; echo d/*/*.h
echo [ab].c; echo [!a].c; echo ?.c; echo [a-b]?c; echo *.none
echo "*.c" '*.c' \*.c
for f in *; do echo "<$f>"; done
set -f; echo *.c; set +f
case a.c in *.h) echo h;; [a-c].c) echo c;; esac
p='*.c'; echo $p "$p"
set -- *; echo $#
echo '[x]' [[]x]
v=path/to/file.tar.gz; echo "${v##*/} ${v#*/} ${v%.*} ${v%%.*}"
