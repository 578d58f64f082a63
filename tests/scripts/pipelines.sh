# Pipelines of every shape, their status, SIGPIPE.
seq 1 20 | grep 1 | sort -r | head -n 3
echo one | cat | cat | cat | tr a-z A-Z
seq 1 5 | while read n; do echo "line $n"; done | tail -n 2
yes | head -n 3
false | true; echo "status $?"
true | false; echo "status $?"
! true | false; echo "not: $?"
{ echo out; echo err >&2; } 2>&1 | sort
(echo a; echo b) | (read x; read y; echo "$y$x")
seq 1 10000 | wc -l
seq 1 3000 | sed 's/$/ some text to fill the pipe buffer more than once/' | tail -n 1
echo data | { cat; echo after; }
head -c 200000 /dev/zero | wc -c
seq 5 | xargs -n 2 echo
exec 3>pipe.out; echo to three >&3; exec 3>&-; cat pipe.out
printf 'b\na\nc\n' | sort | { read first; echo "first=$first"; cat; }
