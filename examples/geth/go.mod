module foreblock.example/geth

go 1.19
