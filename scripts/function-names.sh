# shellcheck shell=bash
# What hot-functions.txt calls the functions of a program. Sourced by link.sh and hot-functions.sh.

# named: for each symbol of the input, a line each, the symbol, a tab, its name: without the hashes of crates, which
# another compiler changes, and without the parameters of parameters of type parameters, which make it long.
named() {
  # With a letter before it, it is no symbol to c++filt.
  awk '{ print "x" $1 "\t" $1 }' | c++filt | sed -E 's/\[[0-9a-f]{8,}\]//g' | awk -F '\t' '
    {
      gsub(/->/, "=", $2)
      name = ""
      depth = 0
      for (i = 1; i <= length($2); i++) {
        c = substr($2, i, 1)
        if (c == "<") depth++
        if (depth < 3) name = name c
        if (c == ">") depth--
      }
      print substr($1, 2) "\t" name
    }'
}
